"""Trains the warehouse detector on rendered pictures, and writes it as ONNX.

    python models/train_detector.py --bfloat16            # as it was shipped
    python models/train_detector.py --scenes 10 --steps 60 --short-steps 0 --out /tmp/try

Three files: fp32, the same as int8, and one that has learned for a tenth of the time only, which
is worse on purpose, to have something to compare.

It needs PyTorch, onnx and onnxruntime beside the simulator; models/README.md says how to get them.
The same seed, machine and versions give the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from network import Detector, Exported, deterministic, loss, parameters, targets
from numpy.typing import NDArray
from onnxruntime import quantization
from scenes import Picture, training_pictures
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from robot_qa.embedded.render import make_renderer
from robot_qa.examples.detection_model import FILES, HEIGHT, SHORT, WIDTH, fitted

HERE = Path(__file__).resolve().parent
BATCH = 16
FASTEST, DECAY = 2e-3, 1e-3
CALIBRATION = 64
"""Pictures by which the ranges of int8 are chosen."""
OPSET = 17


class Job(NamedTuple):
    """Scenes to render in one process."""

    scenes: range
    pictures: int


def main() -> None:
    """Train, export, and say where the files are."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=HERE, metavar='FOLDER')
    parser.add_argument('--scenes', type=int, default=100, metavar='N')
    parser.add_argument('--pictures', type=int, default=30, metavar='N', help='of each scene')
    parser.add_argument('--steps', type=int, default=2000, metavar='N',
                        help=f'of {BATCH} pictures each')
    parser.add_argument('--short-steps', type=int, default=200, metavar='N',
                        help='of the one that is worse; 0: none')
    parser.add_argument('--seed', type=int, default=7, metavar='N')
    parser.add_argument('--processes', type=int, default=2, metavar='N', help='that render')
    parser.add_argument('--threads', type=int, default=1, metavar='N',
                        help='that train; another number gives other rounding')
    parser.add_argument('--bfloat16', action='store_true',
                        help='train in bfloat16: three times as fast where the CPU has AMX')
    given = parser.parse_args()
    started = time.monotonic()
    pictures = render(given.scenes, given.pictures, given.processes)
    print(f'{len(pictures)} pictures of {given.scenes} scenes in '
          f'{time.monotonic() - started:.0f} s, sha256 {digest(pictures)[:16]}', flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    files = [given.out / FILES['fp32'], given.out / FILES['int8']]
    if given.short_steps:
        files.append(given.out / SHORT)
        export(train(pictures, given.short_steps, given), files[-1])
    export(train(pictures, given.steps, given), files[0])
    quantize(files[0], files[1], pictures)
    for file in files:
        print(f'{file}: {file.stat().st_size} bytes, '
              f'sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}')


def render(scenes: int, count: int, processes: int) -> list[Picture]:
    """Return the pictures of all scenes in order, whichever process rendered them."""
    jobs = [Job(range(first, min(first + 5, scenes)), count) for first in range(0, scenes, 5)]
    # OpenGL does not survive a fork.
    with ProcessPoolExecutor(processes, get_context('spawn')) as pool:
        return [picture for part in pool.map(_rendered, jobs) for picture in part]


def _rendered(job: Job) -> list[Picture]:
    renderer = make_renderer('gl')
    return [picture for scene in job.scenes
            for picture in training_pictures(scene, job.pictures, renderer)]


def digest(pictures: list[Picture]) -> str:
    """Return a hash of all pictures and boxes: whether two machines learn from the same."""
    sha = hashlib.sha256()
    for one in pictures:
        for column in (one.color, one.boxes, one.labels, one.ignored):
            sha.update(np.ascontiguousarray(column).tobytes())
    return sha.hexdigest()


class Lessons(Dataset[dict[str, Tensor]]):
    """Pictures in a drawn order, each varied anew whenever it comes."""

    def __init__(self, pictures: list[Picture], count: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        rounds = -(-count // len(pictures))
        order = [generator.permutation(len(pictures)) for _ in range(rounds)]
        self._order = np.concatenate(order)[:count]
        self._pictures, self._seed = pictures, seed

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return the picture (3, h, w), and what to say of it."""
        generator = np.random.default_rng([self._seed, number])
        one = self._pictures[self._order[number]]
        color, boxes = varied(one.color, generator), one.boxes.copy()
        if generator.random() < 0.5:
            color = np.ascontiguousarray(color[:, ::-1])
            boxes[:, [0, 2]] = WIDTH - boxes[:, [2, 0]]
        told = targets(torch.from_numpy(boxes).float(), torch.from_numpy(one.labels),
                       torch.from_numpy(one.ignored))
        return {'picture': torch.from_numpy(color).permute(2, 0, 1), **told}


def varied(color: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a picture from 0 to 1 with another exposure, tint, contrast and noise."""
    made = color.astype(np.float32) / np.float32(255.0)
    made *= (generator.uniform(0.85, 1.15) * generator.uniform(0.95, 1.05, 3)).astype(np.float32)
    if generator.random() < 0.3:
        middle = made.mean()
        made = (made - middle) * np.float32(generator.uniform(0.8, 1.2)) + middle
    noise = generator.standard_normal(made.shape, np.float32)
    made += noise * np.float32(generator.uniform(0.0, 0.02))
    clipped: NDArray[np.float32] = np.clip(made, 0.0, 1.0)
    return clipped


def train(pictures: list[Picture], steps: int, given: argparse.Namespace) -> Detector:
    """Return a detector that has seen so many batches."""
    started, busy = time.monotonic(), time.process_time()
    deterministic(given.seed, given.threads)
    detector: Detector = Detector().to(
        memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(detector.parameters(), FASTEST, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, FASTEST, total_steps=steps, pct_start=0.15)
    lessons = Lessons(pictures, steps * BATCH, given.seed)
    batches = DataLoader(lessons, BATCH, num_workers=1, prefetch_factor=8)
    mean = 0.0
    for step, batch in enumerate(batches):
        picture = batch.pop('picture').contiguous(memory_format=torch.channels_last)
        with torch.autocast('cpu', torch.bfloat16, enabled=given.bfloat16):
            scores, sides = detector(picture)
        cost = loss((scores.float(), sides.float()), batch)
        optimizer.zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        mean += (cost.item() - mean) * (0.02 if step else 1.0)
        if (step + 1) % 100 == 0:
            print(f'step {step + 1}: loss {mean:.3f}', flush=True)
    print(f'{parameters(detector)} parameters, {steps} steps in '
          f'{time.monotonic() - started:.0f} s ({time.process_time() - busy:.0f} s of CPU)',
          flush=True)
    return detector.eval()


def export(detector: Detector, file: Path) -> None:
    """Write the network as ONNX, for one picture of a fixed size."""
    picture = torch.zeros(1, 3, HEIGHT, WIDTH)
    # The old exporter folds batch normalisation and needs no further package.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        torch.onnx.export(
            Exported(detector).eval(), (picture,), str(file), opset_version=OPSET, dynamo=False,
            input_names=['picture'], output_names=['scores', 'sides'],
        )


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: list[Picture]) -> None:
        chosen = pictures[::max(1, len(pictures) // CALIBRATION)]
        self._inputs: Iterator[dict[str, Any]] = iter(
            [{'picture': fitted(one.color)[0]} for one in chosen])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next picture."""
        return next(self._inputs, None)


def quantize(source: Path, file: Path, pictures: list[Picture]) -> None:
    """Write the network with weights and values of 8 bits, one scale for each layer."""
    logging.getLogger().setLevel(logging.ERROR)  # it recommends what the export has done
    quantization.quantize_static(
        str(source), str(file), _Calibration(pictures),
        quant_format=quantization.QuantFormat.QDQ, per_channel=False, reduce_range=False,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=['Conv'],
    )


if __name__ == '__main__':
    main()
