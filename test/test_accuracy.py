"""Accuracy of detectors: green when they see well, red on every seeded fault, in every slice."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception_samples import (
    DETECTIONS,
    PREDICTED,
    TRUE,
    box,
    detections,
    journal,
    judged,
    panel,
    scene,
    seen,
    stream,
    verdicts,
    vision_store,
)
from robot_qa.panel import Panel, clock_first
from robot_qa.perception.detection import Evaluator
from robot_qa.perception.objects import Detections, Truth
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch
from robot_qa.probes.recorder import Recorder
from robot_qa.report.model import perception_part
from robot_qa.spec.loader import load_spec
from samples import MS, START, S, batch, clock_ticks, observed

FRAMES = 300
ALL = ('metrics: {map: 50 %, map_50: 80 %, map_75: 70 %, ar: 50 %, recall: 90 %, '
       'precision: 90 %, f1: 90 %, ece: 30 %}')


def truth(frames: int = FRAMES) -> Batch:
    return stream(TRUE, scene, range(frames), after=0)


def predictions(frames: int = FRAMES, late: int = 0, **faults: Any) -> Batch:
    return stream(PREDICTED, lambda frame: seen(frame, **faults), range(frames), late=late)


def test_a_good_detector_passes_everything(tmp_path: Path) -> None:
    found = judged(panel(tmp_path, ALL), predictions(miss=0.02, false=0.02), truth())
    assert set(verdicts(found).values()) == {'PASS'}, verdicts(found)
    recall = found['metrics.recall.min'].measurement
    assert recall.low < recall.value < recall.high and recall.count == FRAMES


def test_average_precision_at_any_overlap(tmp_path: Path) -> None:
    block = 'iou: {}\nmetrics: {{ap: 80 %, map_50: 80 %, recall: 80 %}}'
    found = {iou: judged(panel(tmp_path, block.format(iou)), predictions(shift=6.0), truth())
             for iou in (0.5, 0.6, 0.85)}
    values = {iou: one['metrics.ap.min'].measurement.value for iou, one in found.items()}
    assert values[0.5] == found[0.5]['metrics.map_50.min'].measurement.value
    assert values[0.5] > values[0.6] > values[0.85]
    assert found[0.5]['metrics.ap.min'].verdict.value == 'PASS'
    assert found[0.85]['metrics.ap.min'].verdict.value == 'FAIL'
    assert found[0.85]['metrics.map_50.min'].verdict.value == 'PASS'


def test_the_values_are_those_of_the_evaluator(tmp_path: Path) -> None:
    found = judged(panel(tmp_path, ALL), predictions(miss=0.1, false=0.2), truth())
    names = {'crate': 0, 'person': 1, 'pallet': 2}
    reference = Evaluator()
    for frame in range(FRAMES):
        columns = []
        for objects in (seen(frame, miss=0.1, false=0.2), scene(frame)):
            columns.append((
                [[one['x'] - one['size'] / 2, one['y'] - one['size'] / 2, one['size'],
                  one['size']] for one in objects],
                [names[one['name']] for one in objects], [one['score'] for one in objects]))
        reference.add_frame(Detections.of(*columns[0]), Truth.of(*columns[1][:2]))
    wanted = reference.result()
    assert found['metrics.map.min'].measurement.value == pytest.approx(wanted.ap(), abs=1e-12)
    assert found['metrics.map_75.min'].measurement.value == pytest.approx(
        wanted.ap(threshold=0.75))
    assert found['metrics.ar.min'].measurement.value == pytest.approx(wanted.ar())
    counts = wanted.counts(0.5)
    for name in ('precision', 'f1'):
        value = found[f'metrics.{name}.min'].measurement.value
        assert value is None or value == pytest.approx(getattr(counts, name))
    assert found['metrics.recall.min'].verdict.value == 'INCONCLUSIVE'  # 90 % is what it has
    assert f'{100 * (counts.recall or 0):.3g} %' in found['metrics.recall.min'].reason


@pytest.mark.parametrize('faults,red', [
    ({'shift': 20.0}, {'map', 'map_50', 'map_75', 'ar', 'recall', 'precision', 'f1', 'ece'}),
    ({'lacking': ('person',)}, {'map_50', 'map_75', 'recall', 'f1'}),
    ({'miss': 0.4}, {'recall', 'f1', 'ece'}),
    ({'false': 1.0}, {'precision'}),
])
def test_a_fault_is_red_where_it_shows(tmp_path: Path, faults: Any, red: set[str]) -> None:
    found = verdicts(judged(panel(tmp_path, ALL), predictions(**faults), truth()))
    failed = {name.split('.')[1] for name, verdict in found.items() if verdict == 'FAIL'}
    assert red <= failed
    assert failed - red <= {'map', 'map_50', 'ar', 'f1', 'ece', 'map_75'}
    assert found['unmatched.max'] == 'PASS'


def test_evidence_names_what_was_missed_and_what_is_not_there(tmp_path: Path) -> None:
    def one_missed(frame: int) -> list[dict[str, Any]]:
        found = seen(frame)
        if frame == 5:
            found[2]['score'] = 0.12
            found.append(box('person', 280, 200, score=0.9))
        return found

    found = judged(panel(tmp_path, ALL), stream(PREDICTED, one_missed, range(FRAMES)), truth())
    missed = scene(5)[2]
    (recall,) = found['metrics.recall.min'].evidence
    assert recall.text == (f'frame 1700000000.500: pallet at {missed["x"]:.0f},{missed["y"]:.0f} '
                           'missed, score of best 0.12; person at 280,200 with score 0.90 is not '
                           'there')
    assert recall.stamp_ns == START + 5 * 100 * MS + 21 * MS
    assert len(found['metrics.precision.min'].evidence) == 1


def test_late_stamps_match_nothing_unless_the_tolerance_allows(tmp_path: Path) -> None:
    late = predictions(late=7 * MS)
    found = judged(panel(tmp_path, ALL), late, truth())
    assert found['unmatched.max'].verdict.value == 'FAIL'
    assert '7 ms away' in found['unmatched.max'].reason
    metrics = {name: each for name, each in found.items() if name.startswith('metrics')}
    assert set(verdicts(metrics).values()) == {'INCONCLUSIVE'}
    assert 'belong together' in found['metrics.map.min'].reason
    near = judged(panel(tmp_path, ALL + '\nassociation: {nearest: 10 ms}'), late, truth())
    assert set(verdicts(near).values()) == {'PASS'}


def test_nothing_never_passes(tmp_path: Path) -> None:
    block = ALL + '\nunanswered: 5 %'
    for batches, said in (
        ([], 'no message on /detections'), ([predictions()], 'no truth came on /ground_truth'),
        ([truth()], 'no message on /detections: nobody publishes'),
    ):
        found = judged(panel(tmp_path, block), *batches,
                       notes={PREDICTED: ['nobody publishes']})
        assert 'PASS' not in verdicts(found).values()
        assert said in found['metrics.map_50.min'].reason
        assert found['unanswered.max'].verdict.value == (
            'FAIL' if batches and batches[0].topic == TRUE else 'INCONCLUSIVE')


def test_frames_without_objects_are_no_recall(tmp_path: Path) -> None:
    nothing = [stream(topic, lambda _: [], range(FRAMES)) for topic in (PREDICTED, TRUE)]
    found = judged(panel(tmp_path, ALL), *nothing)
    assert found['metrics.recall.min'].reason == 'there was nothing to find'
    assert found['metrics.precision.min'].reason == 'nothing was detected'
    assert found['unmatched.max'].verdict.value == 'PASS'


def test_too_few_independent_frames_decide_nothing(tmp_path: Path) -> None:
    found = judged(panel(tmp_path, ALL), predictions(15), truth(15))
    assert found['metrics.recall.min'].verdict.value == 'INCONCLUSIVE'
    assert found['metrics.recall.min'].reason.endswith(
        '15 samples worth 5 independent ones: about 75 more would decide')
    assert found['metrics.ece.max'].verdict.value == 'INCONCLUSIVE'

    def strongly_correlated(frame: int) -> list[dict[str, Any]]:
        return seen(frame, lacking=('crate', 'person') if frame // 50 % 2 else ())

    found = judged(panel(tmp_path, ALL), stream(PREDICTED, strongly_correlated, range(FRAMES)),
                   truth())
    assert found['metrics.recall.min'].verdict.value == 'INCONCLUSIVE'
    assert 'independent ones' in found['metrics.recall.min'].reason


def test_each_truth_is_used_once_and_duplicates_are_unmatched(tmp_path: Path) -> None:
    frames = sorted([*range(FRAMES), *range(0, FRAMES, 10)])
    twice = stream(PREDICTED, seen, frames)
    found = judged(panel(tmp_path, ALL), twice, truth())
    unmatched = found['unmatched.max']
    assert unmatched.verdict.value == 'FAIL'
    assert unmatched.measurement.value == pytest.approx(30 / 330, abs=0.002)
    assert found['metrics.recall.min'].measurement.count == FRAMES


def test_frames_that_cannot_be_read_are_unmatched(tmp_path: Path) -> None:
    def broken(frame: int) -> list[dict[str, Any]]:
        return [{**one, 'x': float('nan') if frame % 20 == 0 else one['x']} for one in seen(frame)]

    found = judged(panel(tmp_path, ALL), stream(PREDICTED, broken, range(FRAMES)), truth())
    assert found['unmatched.max'].verdict.value == 'FAIL'
    assert 'not a finite number' in found['unmatched.max'].reason
    assert found['metrics.recall.min'].verdict.value == 'PASS'
    whole = predictions()
    cut = batch(np.arange(FRAMES) * 100 * MS, [
        bytes(payload)[:-9] if row % 20 == 0 else bytes(payload)
        for row, payload in enumerate(whole.payloads)], PREDICTED, DETECTIONS)
    found = judged(panel(tmp_path, ALL), cut, truth())
    assert found['unmatched.max'].measurement.value == pytest.approx(0.05, abs=0.003)
    assert 'cannot be read' in found['unmatched.max'].reason
    never = stream(PREDICTED, lambda frame: [box('crate', float('nan'), 1)], range(FRAMES))
    assert judged(panel(tmp_path, ALL), never, truth())['unmatched.max'].measurement.value == 1.0


def test_unanswered_truth_is_counted(tmp_path: Path) -> None:
    half = stream(PREDICTED, seen, range(0, FRAMES, 2))
    found = judged(panel(tmp_path, ALL + '\nunanswered: 5 %'), half, truth())
    assert found['unanswered.max'].verdict.value == 'FAIL'
    assert found['unanswered.max'].measurement.value == pytest.approx(0.5, abs=0.01)
    assert found['unmatched.max'].verdict.value == 'PASS'


def test_a_detector_that_answers_a_tenth_of_the_frames_fails_unless_it_may(tmp_path: Path) -> None:
    tenth = stream(PREDICTED, seen, range(0, FRAMES, 10))
    found = judged(panel(tmp_path, ALL), tenth, truth())
    assert found['unanswered.max'].verdict.value == 'FAIL'
    assert found['unanswered.max'].measurement.value == pytest.approx(0.9, abs=0.01)
    assert '"unanswered"' in found['unanswered.max'].reason
    assert 'no prediction' in found['unanswered.max'].measurement.evidence[0].text
    by_design = judged(panel(tmp_path, ALL + '\nunanswered: 95 %'), tenth, truth())
    assert by_design['unanswered.max'].verdict.value == 'PASS'
    # What is interpolated usually comes more often than predictions.
    between = judged(panel(tmp_path, ALL + '\nassociation: {interpolate: 150 ms}'), tenth, truth())
    assert 'unanswered.max' not in between


def test_a_detector_that_dies_before_the_end_is_counted_to_the_end(tmp_path: Path) -> None:
    dies = stream(PREDICTED, seen, range(165))
    found = judged(panel(tmp_path, ALL), dies, truth(), seconds=30.0)
    assert found['unanswered.max'].measurement.value == pytest.approx(0.45, abs=0.01)
    late = stream(TRUE, scene, range(150, FRAMES), after=0)
    found = judged(panel(tmp_path, ALL), predictions(), late, seconds=30.0)
    assert found['unmatched.max'].measurement.value == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize('names,said', [
    ('classes: [crates, person]', 'the class "crates" occurs neither in the truth nor in the '
     'predictions; did you mean "crate"?'),
    ('classes: [Kiste, person]', '(classes of the truth that are not listed: crate, pallet)'),
    ('labels: {crat: box}', '"crat" of labels does not occur; did you mean "crate"?'),
    ('predicted_labels: {crat: box}', '"crat" of predicted_labels does not occur'),
])
def test_a_name_that_does_not_occur_proves_nothing(tmp_path: Path, names: str, said: str) -> None:
    block = 'metrics: {map_50: 80 %, recall: 90 %, precision: 80 %}\n' + names
    found = judged(panel(tmp_path, block), predictions(), truth())
    for metric in ('map_50', 'recall', 'precision'):
        one = found[f'metrics.{metric}.min']
        assert (one.verdict.value, said in one.reason) == ('INCONCLUSIVE', True), one.reason
    # What is broken all the same stays so.
    blind = judged(panel(tmp_path, block), predictions(miss=0.9), truth())
    assert blind['metrics.recall.min'].verdict.value == 'FAIL'


@pytest.mark.parametrize('names', [
    'classes: [crate, person, pallet, barrel]',  # no barrel is there, and nothing in its place
    'classes: [crate, person]', 'labels: {"1": crate, "2": person}',
    'labels: {crate: box, tote: box}\npredicted_labels: {crate: box}',
])
def test_names_that_need_not_occur(tmp_path: Path, names: str) -> None:
    found = judged(panel(tmp_path, 'metrics: {recall: 90 %}\n' + names), predictions(), truth())
    assert found['metrics.recall.min'].verdict.value == 'PASS', found['metrics.recall.min'].reason


def test_the_worst_frames_are_a_second_apart(tmp_path: Path) -> None:
    def blind(frame: int) -> list[dict[str, Any]]:
        return [] if 100 <= frame < 110 else seen(frame, miss=0.1)

    found = judged(panel(tmp_path, 'metrics: {recall: 99 %}'),
                   stream(PREDICTED, blind, range(FRAMES)), truth())
    told = [one.stamp_ns for one in found['metrics.recall.min'].measurement.evidence]
    assert len(told) == 5
    assert all(b - a >= S for a, b in pairwise(sorted(told)))


def test_another_type_is_an_error_that_says_so(tmp_path: Path) -> None:
    wrong = batch([0], [b'\0\1\0\0' + bytes(8)], PREDICTED, 'sensor_msgs/msg/LaserScan')
    found = judged(panel(tmp_path, ALL), wrong, truth())
    assert set(verdicts(found).values()) == {'ERROR'}
    assert 'reads vision_msgs/msg/Detection2DArray' in found['metrics.map.min'].reason


LIGHT = '- {at: 10 s, for: 10 s, light: {scale: 0.2}, slice: low_light}'
LIT = journal((10, 'begun', 0), (10.5, 'done', 0), (20, 'undoing', 0), (20.5, 'undone', 0))
SLICED = """metrics: {recall: 80 %}
slices: {low_light: {map_50: 60 %, recall: 60 %}, nominal: {recall: 90 %}}
worst_slice: {recall: 60 %}
drop_from: {nominal: {recall: 30 %, map_50: 40 %}}"""


def in_the_dark(miss: float, changing: float = 1.0) -> Batch:
    """Misses some between 10.5 s and 20 s, and more while the light changes."""
    def boxes(frame: int) -> list[dict[str, Any]]:
        at = frame / 10
        lost = miss if 10.5 < at <= 20 else changing if 10 < at <= 20.5 else 0.0
        return seen(frame, miss=lost)
    return stream(PREDICTED, boxes, range(400))


def test_slices_of_the_scenario(tmp_path: Path) -> None:
    def of(miss: float, told: Batch = LIT) -> dict[str, Any]:
        return judged(panel(tmp_path, SLICED, LIGHT), in_the_dark(miss), truth(400), told)

    found = of(0.05)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    assert found['slices.low_light.recall.min'].measurement.count == 95
    # Ten frames while the light changes belong to neither.
    assert found['slices.nominal.recall.min'].measurement.count == 400 - 95 - 10
    assert found['drop_from.nominal.recall.max'].measurement.value == pytest.approx(0.05, abs=0.05)

    dark = of(0.7)
    assert verdicts(dark) == {
        'metrics.recall.min': 'INCONCLUSIVE', 'slices.low_light.map_50.min': 'PASS',
        'slices.low_light.recall.min': 'FAIL', 'slices.nominal.recall.min': 'PASS',
        'worst_slice.recall.min': 'FAIL', 'drop_from.nominal.recall.max': 'FAIL',
        'drop_from.nominal.map_50.max': 'PASS', 'unmatched.max': 'PASS',
        'unanswered.max': 'PASS', 'left_out.max': 'PASS'}
    assert dark['worst_slice.recall.min'].evidence[0].text.startswith('worst in low_light')
    value = dark['drop_from.nominal.recall.max'].measurement
    low_light = dark['slices.low_light.recall.min'].measurement.value
    assert value.value == pytest.approx(1 - low_light) and value.low < value.value < value.high

    blind = of(0.05, journal((10, 'begun', 0), (10.5, 'failed', 0)))
    assert blind['slices.low_light.recall.min'].verdict.value == 'INCONCLUSIVE'
    assert 'was carried out' in blind['slices.low_light.recall.min'].reason


def test_a_recording_without_the_journal_decides_no_slice(tmp_path: Path) -> None:
    found = judged(panel(tmp_path, SLICED, LIGHT), in_the_dark(0.0), truth(400))
    sliced = {n: r for n, r in found.items() if n.split('.')[0] in (
        'slices', 'worst_slice', 'drop_from')}
    assert set(verdicts(sliced).values()) == {'INCONCLUSIVE'}
    assert 'nothing tells when' in found['slices.low_light.recall.min'].reason


def test_simulated_time_assigns_frames_by_simulated_stamps(tmp_path: Path) -> None:
    """The clock starts at 0 and runs at half the speed; frames carry its time."""
    def frames(topic: str, boxes: Any) -> Batch:
        return batch(
            [one * 200 * MS + 5 * MS for one in range(400)],
            [detections(one * 100 * MS, boxes(one)) for one in range(400)], topic, DETECTIONS)

    def dark(frame: int) -> list[dict[str, Any]]:
        return seen(frame, miss=1.0 if 10.5 < frame / 10 <= 20 else 0.0)

    ticks = clock_ticks(np.arange(8000) * 10 * MS, np.arange(8000) * 5 * MS)
    told = journal((10, 'begun', 0), (10.5, 'done', 0), (20, 'undoing', 0), (20.5, 'undone', 0),
                   simulated=True)
    told = batch(None, [bytes(one) for one in told.payloads], told.topic, told.type,
                 np.array([20, 21, 40, 41]) * S, None)
    found = judged(panel(tmp_path, SLICED, LIGHT, 'clock: ros\n'), frames(PREDICTED, dark),
                   frames(TRUE, scene), told, ticks)
    assert found['slices.low_light.recall.min'].measurement.value == 0.0
    assert found['slices.low_light.recall.min'].measurement.count == 95
    assert found['slices.nominal.recall.min'].measurement.value == 1.0


OBJECTS = """metrics: {recall: 50 %}
slices:
  hidden: {where: {occlusion: {min: 50 %}}, recall: 90 %}
  open: {where: {occlusion: {max: 50 %}}, recall: 90 %, map_50: 90 %}
  small: {where: {size: small}, recall: 50 %}
  people: {where: {class: person}, recall: 90 %, map_50: 80 %}
  cut: {where: {truncation: {min: 10 %}}, recall: 90 %}
  near: {where: {distance: {max: 3}}, recall: 90 %}
worst_slice: {recall: 50 %}"""


def test_slices_of_the_objects(tmp_path: Path) -> None:
    def blind_to_the_hidden(frame: int) -> list[dict[str, Any]]:
        return [
            {**found, 'score': 0.1 if true['seen']['visibility'] < 0.5 else 0.9}
            for found, true in zip(seen(frame), scene(frame), strict=True)]

    found = judged(panel(tmp_path, OBJECTS), stream(PREDICTED, blind_to_the_hidden, range(FRAMES)),
                   truth())
    assert found['slices.hidden.recall.min'].measurement.value == 0.0
    assert found['slices.open.recall.min'].measurement.value == 1.0
    assert found['slices.open.map_50.min'].verdict.value == 'PASS'
    small = [one for frame in range(FRAMES) for one in scene(frame) if one['size'] <= 32]
    shown = sum(one['seen']['visibility'] >= 0.5 for one in small) / len(small)
    assert found['slices.small.recall.min'].measurement.value == pytest.approx(shown)
    assert 0.0 < found['slices.people.recall.min'].measurement.value < 1.0
    assert found['slices.cut.recall.min'].reason == 'there was nothing to find'
    assert found['slices.near.recall.min'].reason == (
        'the truth does not tell the distance of 1200 objects')
    # A slice that cannot be judged may be the worst.
    assert found['worst_slice.recall.min'].verdict.value == 'INCONCLUSIVE'


def test_distance_comes_from_the_pose_of_the_truth(tmp_path: Path) -> None:
    def far(frame: int) -> list[dict[str, Any]]:
        return [{**one, 'distance': 1.0 + 2 * place} for place, one in enumerate(scene(frame))]

    def near_only(frame: int) -> list[dict[str, Any]]:
        return seen(frame)[:2]

    found = judged(
        panel(tmp_path, 'slices: {near: {where: {distance: {max: 3}}, recall: 90 %}, '
              'far: {where: {distance: {min: 4}}, recall: 50 %}}'),
        stream(PREDICTED, near_only, range(FRAMES)), stream(TRUE, far, range(FRAMES), after=0))
    assert found['slices.near.recall.min'].verdict.value == 'PASS'
    assert found['slices.far.recall.min'].measurement.value == 0.0


def test_labels_give_names_and_classes_restrict(tmp_path: Path) -> None:
    ids = {'crate': '1', 'person': '2', 'pallet': '3'}

    def numbered(frame: int) -> list[dict[str, Any]]:
        return [{**one, 'name': ids[one['name']]} for one in scene(frame)]

    true = stream(TRUE, numbered, range(FRAMES), after=0)
    plain = judged(panel(tmp_path, ALL), predictions(), true)
    assert plain['metrics.recall.min'].verdict.value == 'FAIL'
    named = judged(panel(tmp_path, ALL + '\nlabels: {"1": crate, "2": person, "3": pallet}'),
                   predictions(), true)
    assert set(verdicts(named).values()) == {'PASS'}
    fault = predictions(lacking=('pallet',))
    some = judged(panel(tmp_path, ALL + '\nlabels: {"1": crate, "2": person, "3": pallet}\n'
                        'classes: [crate, person]'), fault, true)
    assert set(verdicts(some).values()) == {'PASS'}


def test_ignored_objects_need_not_be_found(tmp_path: Path) -> None:
    def blind_to_the_hidden(frame: int) -> list[dict[str, Any]]:
        return [found for found, true in zip(seen(frame), scene(frame), strict=True)
                if true['seen']['visibility'] >= 0.5]

    blind = stream(PREDICTED, blind_to_the_hidden, range(FRAMES))
    assert verdicts(judged(panel(tmp_path, ALL), blind, truth()))['metrics.recall.min'] == 'FAIL'
    lenient = judged(panel(tmp_path, ALL + '\nignore: {occlusion: {min: 50 %}}'), blind, truth())
    assert set(verdicts(lenient).values()) == {'PASS'}
    # Of several descriptions one has to fit; nothing is so narrow.
    some = judged(panel(tmp_path, ALL + '\nignore: [{occlusion: {min: 50 %}, class: person}, '
                        '{side: {max: 8}}]'), blind, truth())
    assert verdicts(some)['metrics.recall.min'] == 'FAIL'
    # And may be found all the same.
    whole = judged(panel(tmp_path, ALL + '\nignore: {occlusion: {min: 50 %}}'), predictions(),
                   truth())
    assert set(verdicts(whole).values()) == {'PASS'}


def test_truth_is_interpolated_by_id(tmp_path: Path) -> None:
    def moving(tenth: float) -> list[dict[str, Any]]:
        return [box('crate', 50 + 20 * tenth % 200, 60, 30, own='a'),
                box('person', 200 - 8 * tenth % 100, 150, 30, own='b')]

    true = stream(TRUE, moving, range(5), after=0)
    between = stream(PREDICTED, lambda frame: moving(frame / 10), range(40), period=10 * MS)
    block = 'metrics: {map: 90 %, recall: 80 %}\nassociation: {interpolate: 150 ms}\nalike: 10 ms'
    found = judged(panel(tmp_path, block), between, true)
    assert found['metrics.map.min'].verdict.value == 'PASS'
    assert found['metrics.map.min'].measurement.value == pytest.approx(1.0)
    sparse = judged(panel(tmp_path, block.replace('150', '50')), between, true, seconds=0.5)
    assert sparse['unmatched.max'].verdict.value == 'FAIL'


@pytest.mark.parametrize('pieces', [2, 40])
@pytest.mark.parametrize('more', ['', '\nassociation: {nearest: 30 ms}'])
def test_pieces_make_no_difference(tmp_path: Path, pieces: int, more: str) -> None:
    block = SLICED + '\nunanswered: 10 %' + more
    batches = (in_the_dark(0.3), truth(400), LIT)
    whole = judged(panel(tmp_path, block, LIGHT), *batches)
    parts = judged(panel(tmp_path, block, LIGHT), *batches, pieces=pieces)
    assert {n: (r.verdict, r.reason, r.measurement) for n, r in whole.items()} == {
        n: (r.verdict, r.reason, r.measurement) for n, r in parts.items()}


def test_costly_bounds_are_left_to_the_end(tmp_path: Path) -> None:
    one = panel(tmp_path, ALL)
    one.update([predictions(), truth()])
    running = {each.name.split('.')[-2]: each for each in one.results(observed(30.0), False)}
    assert running['map_50'].verdict.value == 'INCONCLUSIVE'
    assert running['map_50'].reason.startswith('100 % (? to ?)')
    assert running['recall'].verdict.value == 'PASS'
    final = {each.name.split('.')[-2]: each for each in one.results(observed(30.0), True)}
    assert final['map_50'].verdict.value == 'PASS'


def test_what_there_is_no_room_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('robot_qa.monitors.accuracy_detection.MOST_ROWS', 1000)
    found = judged(panel(tmp_path, ALL), predictions(), truth(), pieces=30)
    assert found['left_out.max'].verdict.value == 'FAIL'
    assert found['metrics.recall.min'].measurement.count == 111


def test_a_recording_gives_the_measurements_of_the_run(tmp_path: Path) -> None:
    """The run's samples, written as they came and read again: the very same results."""
    block = SLICED + ('\nunanswered: 10 %\nassociation: {nearest: 30 ms}\n')
    live = panel(tmp_path, block, LIGHT)
    batches = [in_the_dark(0.7), truth(400), LIT]
    recorder = Recorder(tmp_path / 'run.mcap', vision_store())
    cuts = np.linspace(0, 40 * S, 57).astype(int)
    for first, past in pairwise(cuts.tolist()):
        drained = [
            one.rows((one.received_ns >= START + first) & (one.received_ns < START + past))
            for one in batches]
        drained = [one for one in drained if len(one)]
        live.update(drained)
        live.results(observed(past / S), final=False)
        for one in drained:
            recorder.write(one)
    seen = observed(41.0)
    recorder.close({'start_ns': seen.start_ns, 'end_ns': seen.end_ns, 'overruns': {},
                    'notes': {}})
    probe = BagProbe(tmp_path / 'run.mcap', live.topics)
    offline = Panel(load_spec(tmp_path / 'x.qa.yaml'), probe.store)
    while not probe.done:
        offline.update(clock_first(probe.drain()))
    again = offline.results(probe.observation(), final=True)
    probe.close()
    first_time = live.results(seen, final=True)
    assert [(one.name, one.verdict, one.reason, one.measurement) for one in again] == [
        (one.name, one.verdict, one.reason, one.measurement) for one in first_time]
    assert {one.verdict.value for one in again} >= {'PASS', 'FAIL'}
    told = [perception_part(one) for one in offline.explained]
    assert told == [perception_part(one) for one in live.explained] and len(told) == 3


def test_a_frame_costs_little(tmp_path: Path) -> None:
    """Well below the period of any camera; see doc/perception.md for numbers."""
    one = panel(tmp_path, ALL)
    batches = [predictions(), truth()]
    start = time.process_time()
    for part in np.array_split(np.arange(FRAMES), 60):
        one.update([whole.rows(part) for whole in batches])
    assert (time.process_time() - start) / FRAMES < 0.01


def test_a_planned_change_does_not_blur_the_whole_run(tmp_path: Path) -> None:
    """A quarter of the frames is dark by plan; the metric of the whole run is decided."""
    block = 'metrics: {recall: 80 %}\nslices: {low_light: {recall: 30 %}}'
    dark = in_the_dark(0.5)
    found = judged(panel(tmp_path, block, LIGHT), dark, truth(400), LIT)
    assert verdicts(found)['metrics.recall.min'] == 'PASS', found['metrics.recall.min'].reason
    # Without the plan nobody knows how much of the time it is dark.
    plain = judged(panel(tmp_path, 'metrics: {recall: 80 %}'), dark, truth(400))
    assert verdicts(plain)['metrics.recall.min'] == 'INCONCLUSIVE'
