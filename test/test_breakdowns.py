"""What was taken for what, and what scores are worth: counted by others, too, and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from perception_samples import (
    CLASS,
    IMAGE,
    PREDICTED,
    TRUE,
    box,
    classes,
    images,
    journal,
    judged,
    panel,
    scene,
    seen,
    stream,
)
from robot_qa.checks import CheckResult, Verdict
from robot_qa.monitors.clocks import Clocks
from robot_qa.perception.breakdown import MISSED, NOTHING, OTHER
from robot_qa.report.model import PerceptionPart, Report, perception_part
from robot_qa.report.writers import text
from robot_qa.run_folder import Cost, RunFolder
from robot_qa.spec.loader import load_spec
from samples import observed

FRAMES = 120
LIGHT = '- {at: 10 s, for: 10 s, light: {scale: 0.2}, slice: low_light}'


def told(one: Any) -> dict[str | None, PerceptionPart]:
    """Return what a panel tells after its final results, by slice."""
    return {part.slice: part for part in map(perception_part, one.explained)}


def mixed_up(frame: int) -> list[dict[str, Any]]:
    """Every third frame persons are taken for crates; each fifth has one that is not there."""
    found = [{**one, 'name': 'crate' if one['name'] == 'person' and frame % 3 == 0 else
              one['name']} for one in seen(frame)]
    return [*found, box('person', 300, 220, score=0.8)] if frame % 5 == 0 else found


def cell(part: PerceptionPart, true: str, taken_for: str) -> int:
    return part.counts[part.true.index(true)][part.taken_for.index(taken_for)]


def test_a_detector_that_mixes_up_classes(tmp_path: Path) -> None:
    one = panel(tmp_path, 'metrics: {recall: 50 %}')
    judged(one, stream(PREDICTED, mixed_up, range(FRAMES)), stream(TRUE, scene, range(FRAMES)))
    part, = told(one).values()
    there = [true['name'] for frame in range(FRAMES) for true in scene(frame)]
    confused = sum(true['name'] == 'person' for frame in range(0, FRAMES, 3)
                   for true in scene(frame))
    assert part.name == 'detector' and part.frames == FRAMES and confused > 20
    assert cell(part, 'person', 'crate') == confused
    assert cell(part, 'person', 'person') == there.count('person') - confused
    assert cell(part, 'crate', 'crate') == there.count('crate')
    assert cell(part, NOTHING, 'person') == FRAMES // 5
    assert sum(row[-1] for row in part.counts) == 0 and part.taken_for[-1] == MISSED
    assert part.scores is not None
    assert sum(one.count for one in part.scores) == len(there) + FRAMES // 5


def test_slices_are_told_apart(tmp_path: Path) -> None:
    def missing_in_the_dark(frame: int) -> list[dict[str, Any]]:
        return [] if 100 < frame <= 200 else seen(frame)

    one = panel(tmp_path, 'slices: {low_light: {recall: 10 %}, nominal: {recall: 10 %}, '
                'people: {where: {class: person}, recall: 10 %}}', LIGHT)
    lit = journal((10, 'begun', 0), (10, 'done', 0), (20, 'undoing', 0), (20, 'undone', 0))
    judged(one, stream(PREDICTED, missing_in_the_dark, range(300)),
           stream(TRUE, scene, range(300)), lit)
    found = told(one)
    assert set(found) == {None, 'low_light', 'nominal', 'people'}
    assert cell(found['nominal'], 'crate', MISSED) == 0
    dark = found['low_light']
    assert cell(dark, 'crate', 'crate') == 0 and cell(dark, 'crate', MISSED) > 90
    assert found['people'].true == ['person', NOTHING]


@pytest.mark.parametrize('wrong', [0.0, 0.4])
def test_classes_and_scores_as_scikit_learn_counts_them(tmp_path: Path, wrong: float) -> None:
    names = ['crate', 'person', 'barrel']
    rng = np.random.default_rng(5)
    true = [names[one] for one in rng.integers(0, 3, 400)]
    guess = [names[rng.integers(0, 3)] if rng.random() < wrong else name for name in true]
    scores = rng.uniform(0.34, 1.0, 400)
    one = panel(tmp_path, 'task: classification\nclasses: [crate, person, barrel]\n'
                'metrics: {accuracy: 10 %}', kind=CLASS)
    judged(one, classes(PREDICTED, [[pair] for pair in zip(guess, scores, strict=True)]),
           classes(TRUE, [[(name, 1.0)] for name in true]))
    part, = told(one).values()
    assert part.taken_for == [*names, OTHER]
    counts = np.array(part.counts)
    assert (counts[:, :-1] == confusion_matrix(true, guess, labels=names)).all()
    assert not counts[:, -1].any()
    right = [name == said for name, said in zip(true, guess, strict=True)]
    shares, means = calibration_curve(right, scores, n_bins=15)
    assert part.scores is not None
    filled = [one for one in part.scores if one.count]
    assert [one.right for one in filled] == pytest.approx(shares.tolist())
    assert [one.score for one in filled] == pytest.approx(means.tolist(), rel=1e-6)
    assert (np.trace(counts) < 400) == bool(wrong)


def test_pixels_as_scikit_learn_counts_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    true = [rng.choice(np.array([0, 7], np.uint8), (10, 10)) for _ in range(20)]
    guess = [np.where(rng.random(one.shape) < 0.2, 99, one).astype(np.uint8) for one in true]
    one = panel(tmp_path, 'task: segmentation\nclasses: {"0": floor, "7": crate}\n'
                'metrics: {mean_iou: 10 %}', kind=IMAGE)
    judged(one, images(PREDICTED, 'mono8', guess), images(TRUE, 'mono8', true))
    part, = told(one).values()
    expected = confusion_matrix(np.array(true).ravel(), np.array(guess).ravel(),
                                labels=[0, 7, 99])
    assert part.counts == expected[:2].tolist() and part.scores is None
    assert part.true == ['floor', 'crate'] and part.taken_for == ['floor', 'crate', OTHER]


def test_scores_that_are_no_chances_and_tasks_without_classes_have_none(tmp_path: Path) -> None:
    one = panel(tmp_path, 'metrics: {recall: 50 %}')
    percent = stream(PREDICTED, lambda frame: [
        {**found, 'score': 100 * found['score']} for found in seen(frame)], range(FRAMES))
    judged(one, percent, stream(TRUE, scene, range(FRAMES)))
    part, = told(one).values()
    assert part.scores is None and cell(part, 'crate', 'crate') > 100
    depth = panel(tmp_path, 'task: depth\nmetrics: {rmse: 1}', kind=IMAGE)
    pixels = [np.ones((4, 4), np.float32)] * 20
    judged(depth, images(PREDICTED, '32FC1', pixels), images(TRUE, '32FC1', pixels))
    assert not told(depth)


def test_the_report_holds_it_and_the_terminal_shows_it(tmp_path: Path) -> None:
    one = panel(tmp_path, 'metrics: {recall: 50 %}')
    judged(one, stream(PREDICTED, mixed_up, range(FRAMES)), stream(TRUE, scene, range(FRAMES)))
    folder = RunFolder(load_spec(tmp_path / 'x.qa.yaml'), tmp_path / 'out')
    report = folder.write(
        started='', results=[CheckResult('x', Verdict.PASS, '', 'x:1:1')], seen=observed(60.0),
        messages=1, cost=Cost(), clocks=Clocks(), explained=one.explained, environment={})
    read = Report.model_validate(json.loads((tmp_path / 'out/report.json').read_text()))
    assert read == report and read.perception == list(told(one).values())
    shown = text(report, tmp_path).splitlines()
    at = next(number for number, line in enumerate(shown) if 'detector, 120 frames' in line)
    part, = read.perception
    assert shown[at].split() == ['detector,', '120', 'frames', *part.taken_for]
    for line, name, counts in zip(shown[at + 1:], part.true, part.counts, strict=False):
        assert line.split() == [name, *map(str, counts)]
