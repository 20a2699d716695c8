"""Writes the meshes of the models, most of them made of boxes.

Run it as ``python worlds/make_meshes.py``.

Boxes are (x0, y0, z0, x1, y1, z1) in m. A texture lies on them by metres, so that it repeats at
its own size whatever the size of a box, or by the cells of a sheet of six faces.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import people
from wavefront import Floats, Mesh

Corners = tuple[float, float, float, float, float, float]
MODELS = Path(__file__).parent / 'models'
SIDES = (
    ((1, 0, 0), (0, 0, 1)), ((-1, 0, 0), (0, 0, 1)), ((0, -1, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1)), ((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (0, -1, 0)),
)
"""Right and up, as seen from outside, of the sides -y, +y, -x, +x, top and bottom."""
HALL, HEIGHT, THICK = (8.0, 6.0), 4.0, 0.15


def _sides(box: Corners) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield the lower left corner and both edges of each side."""
    low, high = np.array(box[:3]), np.array(box[3:])
    for right, up in SIDES:
        along, upward = np.array(right, float), np.array(up, float)
        direction = along + upward - np.cross(along, upward)
        corner = np.where(direction > 0, low, high)
        yield corner, along * (high - low), upward * (high - low)


def by_metres(boxes: Iterable[Corners], tile: tuple[float, float], step: float = 100.0) -> Mesh:
    """Return boxes under a texture that covers ``tile`` m, cut into pieces of ``step`` m.

    Light that is computed at the corners only, as OpenGL's first pipeline does, needs the pieces.
    """
    mesh = Mesh()
    for corner, along, upward in itertools.chain.from_iterable(map(_sides, boxes)):
        counts = [max(1, round(float(np.linalg.norm(edge)) / step)) for edge in (along, upward)]
        axes = [int(np.argmax(np.abs(edge))) for edge in (along, upward)]
        for column, row in itertools.product(*map(range, counts)):
            corners = np.array([
                corner + along * (column + right) / counts[0] + upward * (row + up) / counts[1]
                for right, up in ((0, 0), (1, 0), (1, 1), (0, 1))
            ])
            mesh.face(corners, corners[:, axes] / tile)
    return mesh


def by_cells(boxes: Iterable[tuple[Corners, tuple[float, ...]]]) -> Mesh:
    """Return boxes with one cell (u0, u1) of a texture across, and 1 m of it along each side."""
    mesh = Mesh()
    for box, (left, right) in boxes:
        for corner, along, upward in _sides(box):
            length, height = np.linalg.norm(along), np.linalg.norm(upward)
            across, run = (along, upward) if length <= height else (upward, -along)
            start = corner if length <= height else corner + along
            ends = np.array([start, start + across, start + across + run, start + run])
            far = max(length, height)
            mesh.face(ends, np.array([[left, 0], [right, 0], [right, far], [left, far]]))
    return mesh


def carton(x: float, y: float, z: float) -> Mesh:
    """Return a box around the origin under a sheet of six faces, 3 x 2."""
    mesh = Mesh()
    for number, (corner, along, upward) in enumerate(_sides((-x, -y, -z, x, y, z))):
        row, column = divmod(number, 3)
        low = np.array([column / 3, (1 - row) / 2])
        corners = np.array([corner, corner + along, corner + along + upward, corner + upward])
        mesh.face(corners, low + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) / (3, 2))
    return mesh


def rack() -> Mesh:
    """Return a pallet rack, 2.4 m x 0.9 m x 2.9 m: uprights, beams, struts, three shelves."""
    blue, orange, zinc = (0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)
    boxes: list[tuple[Corners, tuple[float, ...]]] = []
    for x in (-1.2, 1.12):
        boxes += [((x, y, 0, x + 0.08, y + 0.06, 2.9), blue) for y in (-0.45, 0.39)]
        boxes += [((x + 0.02, -0.39, z, x + 0.06, 0.39, z + 0.04), blue) for z in (0.4, 1.5, 2.6)]
    for z in (0.15, 1.15, 2.15):
        boxes += [((-1.12, y, z - 0.13, 1.12, y + 0.05, z - 0.03), orange) for y in (-0.44, 0.39)]
        boxes.append(((-1.12, -0.45, z - 0.03, 1.12, 0.45, z), zinc))
    return by_cells(boxes)


def pallet() -> Mesh:
    """Return a pallet, 1.2 m x 0.8 m x 0.144 m."""
    boxes: list[Corners] = []
    for y in (-0.4, -0.07, 0.26):
        boxes.append((-0.6, y, 0, 0.6, y + 0.14, 0.022))
        boxes += [(x, y, 0.022, x + 0.14, y + 0.14, 0.1) for x in (-0.6, -0.07, 0.46)]
    boxes += [(x, -0.4, 0.1, x + 0.14, 0.4, 0.122) for x in (-0.6, -0.07, 0.46)]
    boxes += [(-0.6, y, 0.122, 0.6, y + 0.12, 0.144) for y in (-0.4, -0.23, -0.06, 0.11, 0.28)]
    return by_cells((box, (0.0, 1.0)) for box in boxes)


def hall_walls() -> Mesh:
    """Return four walls with openings: gate in the east, doors in the south and the west."""
    x, y = HALL
    boxes: list[Corners] = [
        (-x - THICK, y, 0, x + THICK, y + THICK, HEIGHT),
        (-x - THICK, -y - THICK, 0, 4.5, -y, HEIGHT), (5.5, -y - THICK, 0, x + THICK, -y, HEIGHT),
        (4.5, -y - THICK, 2.1, 5.5, -y, HEIGHT),
        (-x - THICK, -y, 0, -x, 1.0, HEIGHT), (-x - THICK, 2.0, 0, -x, y, HEIGHT),
        (-x - THICK, 1.0, 2.1, -x, 2.0, HEIGHT),
        (x, -y, 0, x + THICK, -2.5, HEIGHT), (x, 0.5, 0, x + THICK, y, HEIGHT),
        (x, -2.5, 3.0, x + THICK, 0.5, HEIGHT),
    ]
    return by_metres(boxes, (2.0, 4.0), 1.0)


def hall_steel() -> Mesh:
    """Return columns, roof beams, and the frames of doors and gate."""
    x, y = HALL
    boxes: list[Corners] = []
    for at in (-6.0, -2.0, 2.0, 6.0):
        boxes += [(at - 0.1, -y, 0, at + 0.1, -y + 0.16, HEIGHT)]
        boxes += [(at - 0.1, y - 0.16, 0, at + 0.1, y, HEIGHT)]
        boxes += [(at - 0.1, -y, HEIGHT, at + 0.1, y, HEIGHT + 0.25)]
    boxes += [(-x, at - 0.05, HEIGHT + 0.25, x, at + 0.05, HEIGHT + 0.4) for at in (-3, 0, 3)]
    boxes += [(at, -y - 0.02, 0, at + 0.08, -y + 0.03, 2.1) for at in (4.42, 5.5)]
    boxes += [(4.42, -y - 0.02, 2.1, 5.58, -y + 0.03, 2.18)]
    boxes += [(-x - 0.02, at, 0, -x + 0.03, at + 0.08, 2.1) for at in (0.92, 2.0)]
    boxes += [(-x - 0.02, 0.92, 2.1, -x + 0.03, 2.08, 2.18)]
    boxes += [(x - 0.08, at, 0, x + 0.02, at + 0.15, 3.0) for at in (-2.65, 0.5)]
    boxes += [(x - 0.3, -2.65, 3.0, x + 0.02, 0.65, 3.35)]
    return by_metres(boxes, (1.0, 1.0), 2.0)


def hall_lanes() -> Mesh:
    """Return painted lines 3 mm thick: both edges of the lanes, and a bay before the gate."""
    def ring(x0: float, y0: float, x1: float, y1: float) -> list[Corners]:
        wide = 0.08
        return [
            (x0, y0, 0, x1, y0 + wide, 0.003), (x0, y1 - wide, 0, x1, y1, 0.003),
            (x0, y0 + wide, 0, x0 + wide, y1 - wide, 0.003),
            (x1 - wide, y0 + wide, 0, x1, y1 - wide, 0.003),
        ]

    bay: list[Corners] = [
        (5.4 + 0.5 * number, -2.6, 0, 5.55 + 0.5 * number, 0.6, 0.003) for number in range(5)
    ]
    boxes = [
        *ring(-7.2, -5.0, 4.6, 4.25), *ring(-5.6, 0.8, 3.0, 2.65), *ring(-5.6, -3.4, 3.0, -0.8),
        *bay,
    ]
    return by_metres(boxes, (1.0, 0.25), 1.0)


def hall_lamps() -> Mesh:
    """Return tubes that hang over the lanes."""
    return by_metres(
        [
            (x - 0.7, y - 0.09, 3.7, x + 0.7, y + 0.09, 3.78)
            for x in (-6.4, -2.6, 1.2, 5.0) for y in (-4.2, 0.0, 3.45)
        ],
        (1.0, 1.0),
    )


def corridor_walls() -> Mesh:
    """Return walls 20 m long and 2 m apart, with a niche, and openings for four doors."""
    def wall(y0: float, y1: float, gaps: tuple[tuple[float, float], ...]) -> list[Corners]:
        edges = [-10.0, *itertools.chain.from_iterable(gaps), 10.0]
        return [
            *((x0, y0, 0.0, x1, y1, 2.6) for x0, x1 in zip(edges[::2], edges[1::2], strict=True)),
            *((x0, y0, 2.1, x1, y1, 2.6) for x0, x1 in gaps),
        ]

    boxes = [
        *wall(-1.15, -1.0, ((-2.0, -1.0), (5.0, 6.0))),
        *wall(1.0, 1.15, ((-6.0, -5.0), (2.0, 4.0))),
        (1.85, 1.15, 0.0, 2.0, 2.0, 2.6), (4.0, 1.15, 0.0, 4.15, 2.0, 2.6),
        (1.85, 2.0, 0.0, 4.15, 2.15, 2.6), (-10.15, -1.15, 0.0, -10.0, 1.15, 2.6),
        (10.0, -1.15, 0.0, 10.15, -0.5, 2.6), (10.0, 0.5, 0.0, 10.15, 1.15, 2.6),
        (10.0, -0.5, 2.1, 10.15, 0.5, 2.6),
    ]
    return by_metres(boxes, (2.0, 4.0), 1.0)


def corridor_steel() -> Mesh:
    """Return door frames and a handrail on both sides."""
    boxes: list[Corners] = []
    for x, y in ((-2.0, -1.0), (5.0, -1.0), (-6.0, 1.0)):
        boxes += [(at, y - 0.02, 0, at + 0.06, y + 0.02, 2.1) for at in (x - 0.06, x + 1.0)]
        boxes += [(x - 0.06, y - 0.02, 2.1, x + 1.06, y + 0.02, 2.16)]
    boxes += [(9.98, y, 0, 10.02, y + 0.06, 2.1) for y in (-0.56, 0.5)]
    boxes += [(9.98, -0.56, 2.1, 10.02, 0.56, 2.16)]
    for x0, x1 in ((-9.9, -2.2), (-0.8, 4.8), (6.2, 9.9)):
        boxes.append((x0, -0.98, 0.9, x1, -0.94, 0.98))
    for x0, x1 in ((-9.9, -6.2), (-4.8, 1.8), (4.2, 9.9)):
        boxes.append((x0, 0.94, 0.9, x1, 0.98, 0.98))
    return by_metres(boxes, (1.0, 1.0), 2.0)


def meshes() -> Iterator[tuple[Path, str]]:
    """Yield the path below the models and the text of each mesh."""
    x, y = HALL[0] + THICK, HALL[1] + THICK
    hall = (-x, -y, -0.1, x, y, 0.0)
    slab, roof = ((-10.15, -1.15, low, 10.15, 2.15, low + 0.1) for low in (-0.1, 2.6))
    tubes: list[Corners] = [
        (at - 0.6, -0.08, 2.55, at + 0.6, 0.08, 2.6) for at in (-7.5, -2.5, 2.5, 7.5)
    ]
    for place, mesh in (
        ('cardboard_box/carton', carton(0.25, 0.2, 0.175)),
        ('cardboard_flat/carton', carton(0.3, 0.2, 0.1)),
        ('tote/tote', carton(0.3, 0.2, 0.15)),
        ('rack/rack', rack()), ('pallet/pallet', pallet()),
        ('person_standing/body', people.standing()), ('person_walking/body', people.walking()),
        ('warehouse_hall/floor', by_metres([hall], (4.0, 4.0), 1.0)),
        ('warehouse_hall/walls', hall_walls()), ('warehouse_hall/steel', hall_steel()),
        ('warehouse_hall/lanes', hall_lanes()), ('warehouse_hall/lamps', hall_lamps()),
        ('corridor_hall/floor', by_metres([slab], (2.0, 2.0), 1.0)),
        ('corridor_hall/ceiling', by_metres([roof], (1.0, 1.0), 1.0)),
        ('corridor_hall/walls', corridor_walls()), ('corridor_hall/steel', corridor_steel()),
        ('corridor_hall/lamps', by_metres(tubes, (1.0, 1.0))),
    ):
        model, name = place.split('/')
        yield Path(model, 'meshes', f'{name}.obj'), mesh.text()


def main() -> None:
    """Write all of them."""
    for path, text in meshes():
        file = MODELS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == '__main__':
    main()
