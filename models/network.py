"""The network, and what it is trained towards. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_qa.examples.detection_model import CLASSES, HEIGHT, STRIDE, WIDTH

ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
RARE = -4.0
"""What the scores start with, before the sigmoid: hardly any cell has an object's middle."""


FOUND = 2.0
"""What a missed object costs, against a false one: so that recall and precision are alike at a
score of a half."""


def convolution(inside: int, outside: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Return a convolution, normalised and rectified."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return as many channels as there are in ``x`` (n, c, h, w)."""
        return functional.relu(x + self.norm(self.second(self.first(x))))


class Detector(nn.Module):
    """Looks down to a 32nd of the picture and comes back up to a 4th of it."""

    def __init__(self, neck: int = 48) -> None:
        super().__init__()
        self.fourth = nn.Sequential(
            convolution(3, 24, 2), convolution(24, 32, 2), Residual(32))
        self.eighth = nn.Sequential(convolution(32, 64, 2), Residual(64))
        self.sixteenth = nn.Sequential(convolution(64, 96, 2), Residual(96))
        self.last = nn.Sequential(convolution(96, 96, 2), convolution(96, 96))
        self.across = nn.ModuleList(
            nn.Conv2d(width, neck, 1) for width in (32, 64, 96, 96))
        self.merge = convolution(neck, neck)
        self.head = convolution(neck, 64)
        self.scores = nn.Conv2d(64, len(CLASSES), 1)
        self.sides = nn.Conv2d(64, 4, 1)
        nn.init.constant_(self.scores.bias, RARE)  # type: ignore[arg-type]
        nn.init.constant_(self.sides.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores before the sigmoid (n, classes, h, w) and distances in px (n, 4, h, w)."""
        levels = [self.fourth(x)]
        for stage in (self.eighth, self.sixteenth, self.last):
            levels.append(stage(levels[-1]))
        sideways = [layer(level) for layer, level in zip(self.across, levels, strict=True)]
        merged = sideways.pop()
        while sideways:
            merged = functional.interpolate(merged, scale_factor=2.0, mode='nearest')
            finer = sideways.pop()
            # 240 rows are not a multiple of 32: the last level has half a row too many.
            merged = functional.relu(finer + merged[..., :finer.shape[2], :finer.shape[3]])
            if len(sideways) == 1:
                merged = self.merge(merged)
        inner = self.head(merged)
        sides = torch.exp(self.sides(inner).clamp(max=5.0)) * STRIDE
        return self.scores(inner), sides


class Exported(nn.Module):
    """What the file holds: scores from 0 to 1."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (1, classes, h, w) and distances in px (1, 4, h, w)."""
        scores, sides = self.detector(x)
        return torch.sigmoid(scores), sides


def cells() -> Tensor:
    """Return the middles of the cells, x and y in px; (2, h, w)."""
    x, y = (torch.arange(count) * STRIDE + STRIDE / 2 for count in (COLUMNS, ROWS))
    return torch.stack(torch.meshgrid(x, y, indexing='xy'))


def targets(boxes: Tensor, labels: Tensor, ignored: Tensor) -> dict[str, Tensor]:
    """Return what the network should say of one picture; boxes (n, 4) in px, labels (n,).

    ``scores`` (classes, h, w): 1 in the cell of each object's middle, less around it (the penalty
    reduced as in CornerNet, H. Law and J. Deng, ECCV 2018); ``counted`` (classes, h, w) is 0
    inside of what may be found or not; ``sides`` (4, h, w) and their ``weights`` (1, h, w), which
    sum up to 1 for each object.
    """
    middles = cells()
    scores, weights = torch.zeros(len(CLASSES), ROWS, COLUMNS), torch.zeros(1, ROWS, COLUMNS)
    counted, sides = torch.ones_like(scores), torch.ones(4, ROWS, COLUMNS)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for number in torch.argsort(area, descending=True).tolist():
        box, label = boxes[number], int(labels[number])
        inside = ((middles > box[:2, None, None]) & (middles < box[2:, None, None])).all(0)
        if ignored[number]:
            counted[label][inside] = 0.0
            continue
        center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        cell = (center / STRIDE).long()
        column = int(cell[0].clamp(0, COLUMNS - 1))
        row = int(cell[1].clamp(0, ROWS - 1))
        sigma = (size * 0.1).clamp(min=2.0)
        away = (middles - middles[:, row, column, None, None]) / sigma[:, None, None]
        bump = torch.exp(-(away ** 2).sum(0) / 2)
        scores[label] = torch.maximum(scores[label], bump)
        near = (bump > 0.2) & inside
        near[row, column] = True
        to_sides = torch.cat((middles - box[:2, None, None], box[2:, None, None] - middles))
        sides[:, near] = to_sides[:, near].clamp(min=0.5)
        weights[0][near] = bump[near] / bump[near].sum()
    # Where both an object and something hidden are, the object counts.
    counted = torch.maximum(counted, (scores > 0.2).float())
    return {'scores': scores, 'counted': counted, 'sides': sides, 'weights': weights}


def loss(said: tuple[Tensor, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Return the focal loss of the scores plus that of the boxes' overlap, per object.

    The former is CenterNet's (T. Lin et al., "Focal Loss", ICCV 2017, with reduced penalties), the
    latter 1 - GIoU (H. Rezatofighi et al., CVPR 2019).
    """
    logits, sides = said
    scores = torch.sigmoid(logits).clamp(1e-4, 1.0 - 1e-4)
    middle = wanted['scores'] == 1.0
    found = -FOUND * torch.log(scores) * (1.0 - scores) ** 2 * middle
    empty = -torch.log(1.0 - scores) * scores ** 2 * (1.0 - wanted['scores']) ** 4 * ~middle
    objects = middle.sum().clamp(min=1)
    focal = ((found + empty) * wanted['counted']).sum() / objects
    overlap = (1.0 - _giou(sides, wanted['sides'])) * wanted['weights'][:, 0]
    return focal + 2.0 * overlap.sum() / objects


def _giou(said: Tensor, wanted: Tensor) -> Tensor:
    """Return the generalised IoU of boxes around the same points; both (n, 4, h, w)."""
    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    common, hull = area(torch.minimum(said, wanted)), area(torch.maximum(said, wanted))
    union = area(said) + area(wanted) - common
    return common / union - (hull - union) / hull


def parameters(detector: nn.Module) -> int:
    """Return how many numbers are learned."""
    return sum(one.numel() for one in detector.parameters())


def deterministic(seed: int, threads: int) -> Any:
    """Make the same run give the same network; return the generator that everything draws from."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    return torch.Generator().manual_seed(seed)
