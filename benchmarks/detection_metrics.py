"""mAP of 5,000 images with 80 classes: ours, pycocotools and faster-coco-eval in one run.

Needs `pip install pycocotools faster-coco-eval`. All three get the same boxes in the form that
they take; the time is that of matching and averaging, without reading files. Then the cost of one
more frame, which is matched and kept at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_qa.perception.detection import Evaluator
from robot_qa.perception.objects import Detections, Floats, Ints, Truth

SPEED_GOAL = 5.0
FRAME_GOAL_MS = 1.0
CLASSES = 80
OBJECTS = 7.3  # per image, as in COCO's val2017
SIDE = 640.0


@dataclass(frozen=True)
class Data:
    """All boxes with the image that each is in."""

    images: int
    truth: Truth
    truth_images: Ints
    detections: Detections
    detection_images: Ints


def made(images: int, lies: float, seed: int = 7) -> Data:
    """Make truth, two detections near each object on average, and ``lies`` elsewhere an image."""
    rng = np.random.default_rng(seed)
    there = np.repeat(np.arange(images), rng.poisson(OBJECTS, images))
    boxes = random_boxes(rng, len(there))
    # A few classes are frequent, most are rare.
    share = 1.0 / np.arange(1, CLASSES + 1)
    labels = rng.choice(CLASSES, len(there), p=share / share.sum())
    near = np.repeat(np.arange(len(there)), rng.poisson(2.0, len(there)))
    shift = rng.normal(0.0, rng.choice([0.03, 0.1, 0.3], (len(near), 1)), (len(near), 4))
    close = boxes[near] + shift * np.tile(boxes[near][:, 2:], 2)
    close[:, 2:] = np.maximum(close[:, 2:], 1.0)
    wrong = rng.random(len(near)) < 0.1
    anywhere = np.repeat(np.arange(images), rng.poisson(lies, images))
    return Data(
        images, Truth.of(boxes, labels, crowd=rng.random(len(there)) < 0.01), there,
        Detections.of(
            np.concatenate((close, random_boxes(rng, len(anywhere)))),
            np.concatenate((np.where(wrong, rng.integers(CLASSES, size=len(near)), labels[near]),
                            rng.choice(CLASSES, len(anywhere), p=share / share.sum()))),
            np.concatenate((rng.beta(4, 2, len(near)), rng.beta(1, 6, len(anywhere)))),
        ),
        np.concatenate((there[near], anywhere)),
    )


def random_boxes(rng: np.random.Generator, count: int) -> Floats:
    size = np.exp(rng.uniform(np.log(8.0), np.log(400.0), (count, 2)))
    return np.hstack((rng.uniform(0.0, SIDE - 8.0, (count, 2)), size))


def as_coco(data: Data, coco_class: Any) -> tuple[Any, Any]:
    """Return the truth and the detections as the COCO class holds them."""
    truth, found = data.truth, data.detections
    areas = (truth.boxes[:, 2] * truth.boxes[:, 3]).tolist()
    coco = coco_class()
    coco.dataset = {
        'images': [{'id': image, 'width': 1000, 'height': 1000} for image in range(data.images)],
        'categories': [{'id': label, 'name': str(label)} for label in range(CLASSES)],
        'annotations': [
            {'id': number + 1, 'image_id': image, 'category_id': label, 'bbox': box,
             'area': area, 'iscrowd': int(crowd)}
            for number, (image, label, box, area, crowd) in enumerate(zip(
                data.truth_images.tolist(), truth.labels.tolist(), truth.boxes.tolist(), areas,
                truth.crowd.tolist(), strict=True))
        ],
    }
    coco.createIndex()
    return coco, coco.loadRes([
        {'image_id': image, 'category_id': label, 'bbox': box, 'score': score}
        for image, label, box, score in zip(
            data.detection_images.tolist(), found.labels.tolist(), found.boxes.tolist(),
            found.scores.tolist(), strict=True)
    ])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        value = work()
    return time.process_time() - start, value


def theirs(evaluation: Any, coco: Any) -> Floats:
    """Return the 12 numbers of COCO's summary."""
    judge = evaluation(*coco, 'bbox')
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return np.asarray(judge.stats[:12], np.float64)


def ours(data: Data) -> Floats:
    """Return the 12 numbers of COCO's summary."""
    evaluator = Evaluator()
    evaluator.add_frames(data.images, data.detections, data.detection_images,
                         data.truth, data.truth_images)
    result = evaluator.result()
    sizes = ('small', 'medium', 'large')
    return np.array([
        result.ap(), result.ap(threshold=0.5), result.ap(threshold=0.75),
        *(result.ap(size=size) for size in sizes),
        *(result.ar(max_detections=most) for most in (1, 10, 100)),
        *(result.ar(size=size) for size in sizes),
    ], np.float64)


def one_by_one(data: Data, frames: int) -> tuple[Floats, Floats]:
    """Return the CPU time of each added frame, and of the mAP after each hundred, in ms."""
    evaluator, adding, asking = Evaluator(), [], []
    frames = min(frames, data.images)
    order = np.argsort(data.detection_images, kind='stable')
    found = np.searchsorted(data.detection_images[order], np.arange(frames + 1))
    true = np.searchsorted(data.truth_images, np.arange(frames + 1))
    for frame in range(frames):
        detections = data.detections[order[found[frame]:found[frame + 1]]]
        truth = data.truth[true[frame]:true[frame + 1]]
        start = time.thread_time()
        evaluator.add_frame(detections, truth)
        adding.append(time.thread_time() - start)
        if frame % 100 == 99:
            start = time.thread_time()
            evaluator.result().ap()
            asking.append(time.thread_time() - start)
    return np.array(adding) * 1e3, np.array(asking) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--images', type=int, default=5000)
    parser.add_argument('--lies', type=float, default=30.0, help='false detections an image')
    asked = parser.parse_args()
    data = made(asked.images, asked.lies)
    print(f'{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {data.images} images, '
          f'{CLASSES} classes, {len(data.truth)} objects, {len(data.detections)} detections')
    reference = importlib.import_module('pycocotools.cocoeval').COCOeval
    coco = importlib.import_module('pycocotools.coco').COCO
    faster = importlib.import_module('faster_coco_eval')
    with contextlib.redirect_stdout(io.StringIO()):
        tools = {
            'pycocotools': (reference, as_coco(data, coco)),
            'faster-coco-eval': (faster.COCOeval_faster, as_coco(data, faster.COCO)),
        }
    seconds, stats = timed(lambda: ours(data))
    print(f'{"robot_qa":18}{seconds:8.2f} s CPU   mAP {stats[0]:.6f}')
    for name, tool in tools.items():
        other, their = timed(functools.partial(theirs, *tool))
        ratio = other / seconds
        goal = '' if name != 'pycocotools' else (
            f', goal {SPEED_GOAL:g}: {"yes" if ratio >= SPEED_GOAL else "NO"}')
        print(f'{name:18}{other:8.2f} s CPU   mAP {their[0]:.6f}   {ratio:6.1f} x ours{goal}; '
              f'largest difference of the 12 {np.abs(their - stats).max():.1e}')
    adding, asking = one_by_one(data, 1000)
    middle, late = np.percentile(adding, (50, 99))
    print(f'one more frame, CPU: median {middle:.2f} ms, p99 {late:.2f} ms, goal '
          f'{FRAME_GOAL_MS:g} ms: {"yes" if late < FRAME_GOAL_MS else "NO"}; '
          f'the mAP after 1,000 of them: {asking[-1]:.0f} ms')


if __name__ == '__main__':
    main()
