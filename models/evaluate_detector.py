"""Judges detectors on the warehouse as it is shipped, a layout that none was trained on.

    python models/evaluate_detector.py
    python models/evaluate_detector.py --light 1 0.2 --sheet detections.png models/*.onnx

It needs the simulator, not PyTorch; each model runs through onnxruntime and OpenCV.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import Picture, held_out_pictures

from robot_qa.embedded.render import make_renderer
from robot_qa.errors import RobotQaError
from robot_qa.examples.detection_model import (
    CLASSES,
    FILES,
    RUNTIMES,
    DetectionModel,
    Found,
)
from robot_qa.perception.detection import Evaluator
from robot_qa.perception.detection_result import DetectionResult
from robot_qa.perception.objects import Detections, Truth

HERE = Path(__file__).resolve().parent
COLORS = ((60, 220, 60), (230, 60, 60), (240, 200, 40), (220, 60, 220))
GREY, WHITE = (130, 130, 130), (255, 255, 255)
SURE = 0.5
"""The score at which recall and precision are counted."""
COLUMNS = 4


class Judged(NamedTuple):
    """What a model made of some pictures."""

    result: DetectionResult
    found: list[Found]
    milliseconds: NDArray[np.float64]
    """From picture to boxes, of each; (n,)."""


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('models', type=Path, nargs='*', metavar='FILE',
                        default=[HERE / name for name in FILES.values()])
    parser.add_argument('--light', type=float, nargs='+', default=[1.0, 0.5, 0.2], metavar='SCALE')
    parser.add_argument('--pictures', type=int, default=200, metavar='N')
    parser.add_argument('--threads', type=int, default=1, metavar='N')
    parser.add_argument('--runtimes', nargs='+', choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument('--sheet', type=Path, metavar='PNG',
                        help='draw what the first model finds, and the truth in white')
    given = parser.parse_args()
    renderer = make_renderer('auto')
    for light in given.light:
        pictures = list(held_out_pictures(given.pictures, light, renderer))
        wanted = np.concatenate([one.labels[~one.ignored] for one in pictures])
        counts = ', '.join(f'{count} x {name}' for name, count in zip(
            CLASSES, np.bincount(wanted, minlength=len(CLASSES)), strict=True))
        print(f'light x {light}: {len(pictures)} pictures, {counts}')
        for model in given.models:
            for runtime in given.runtimes:
                try:
                    judged = judge(DetectionModel(model, runtime, given.threads), pictures)
                except RobotQaError as error:
                    print(f'  {model.name} by {runtime}: {error}')
                    continue
                print(f'  {model.name} by {runtime}: {line(judged)}', flush=True)
                if given.sheet and (model, runtime) == (given.models[0], given.runtimes[0]):
                    name = f'{given.sheet.stem}_{light}{given.sheet.suffix}'
                    draw(pictures, judged.found, given.sheet.with_name(name))


def judge(model: DetectionModel, pictures: list[Picture]) -> Judged:
    """Return how well a model finds what is in the pictures."""
    evaluator, every, times = Evaluator(), [], []
    model(pictures[0].color)
    for one in pictures:
        started = time.perf_counter()
        found = model(one.color)
        times.append((time.perf_counter() - started) * 1e3)
        every.append(found)
        evaluator.add_frame(
            Detections.of(_sized(found.boxes), found.labels, found.scores),
            Truth.of(_sized(one.boxes), one.labels, ignored=one.ignored))
    return Judged(evaluator.result(), every, np.array(times))


def _sized(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn left, top, right, bottom into left, top, width, height."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def line(judged: Judged) -> str:
    """Return the numbers of a model."""
    result = judged.result
    each = ' '.join(f'{name} {_share(result.ap(number, 0.5))}'
                    for number, name in enumerate(CLASSES))
    counts = result.counts(SURE)
    p50, p95 = np.percentile(judged.milliseconds, (50, 95))
    return (f'AP50 {_share(result.ap(threshold=0.5))} ({each}), AP {_share(result.ap())}, '
            f'recall {_share(counts.recall)} and precision {_share(counts.precision)} at score '
            f'{SURE}, crates {_share(result.counts(SURE, label=0).recall)}; '
            f'{p50:.1f} ms p50, {p95:.1f} ms p95')


def _share(value: float | None) -> str:
    return 'none' if value is None else f'{value:.3f}'


def draw(pictures: list[Picture], found: list[Found], file: Path) -> None:
    """Draw twenty of the pictures: truth in white, ignored in grey, what was found in colours."""
    tiles = []
    chosen = np.linspace(0, len(pictures) - 1, 5 * COLUMNS).astype(int)
    for one, boxes in ((pictures[number], found[number]) for number in chosen):
        scale = 2
        tile = cv2.resize(one.color, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        for box, ignored in zip(one.boxes, one.ignored, strict=True):
            _frame(tile, box * scale, GREY if ignored else WHITE)
        for box, label, score in zip(*boxes, strict=True):
            if score >= SURE:
                _frame(tile, box * scale, COLORS[label])
                place = int(box[0] * scale) + 2, int(box[1] * scale) + 11
                cv2.putText(tile, f'{score:.2f}', place, cv2.FONT_HERSHEY_SIMPLEX, 0.35,
                            COLORS[label])
        tiles.append(tile)
    rows = [np.hstack(tiles[first:first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(file), np.vstack(rows)[..., ::-1])


def _frame(tile: NDArray[np.uint8], box: NDArray[np.float64], color: tuple[int, ...]) -> None:
    left, top, right, bottom = np.rint(box).astype(int).tolist()
    cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), color, 1)


if __name__ == '__main__':
    main()
