"""Paints the textures of the models, the same pixels each time.

Run it as ``python worlds/make_textures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from painting import Color, Picture, boards, clouds, grain, mottle, plain, stripes, write
from PIL import Image

MODELS = Path(__file__).parent / 'models'


def crate_small() -> Picture:
    """Planks in a frame with nails, and a stencilled number."""
    picture = boards(256, 256, 6, 11)
    frame = np.concatenate((boards(28, 256, 1, 12), boards(28, 256, 1, 13)))
    picture[:28], picture[-28:] = frame[:28] + 14, frame[28:] + 14
    upright = np.transpose(frame, (1, 0, 2))
    picture[26:-26, :28], picture[26:-26, -28:] = upright[26:-26, :28], upright[26:-26, 28:]
    picture[[28, 29, -30, -29]] *= 0.6
    picture[26:-26, [28, 29, -30, -29]] *= 0.6
    for row in (12, 240):
        for column in (12, 240):
            picture[row:row + 4, column:column + 4] = (70.0, 70.0, 74.0)
    write(picture, 'ROBOT', (74, 56), 5, (58.0, 40.0, 26.0))
    write(picture, 'QA 07', (134, 56), 5, (58.0, 40.0, 26.0))
    return picture


def crate_large() -> Picture:
    """Planks with a frame and a brace across."""
    picture: Picture = boards(256, 256, 8, 21) - np.array([14.0, 16.0, 14.0])
    rows, columns = np.mgrid[:256, :256]
    brace = np.abs(rows + columns - 255)
    picture[brace < 26] = (boards(256, 256, 1, 22) + 6)[brace < 26]
    picture[(brace >= 26) & (brace < 29)] *= 0.55
    edge = np.minimum.reduce([rows, columns, 255 - rows, 255 - columns])
    picture[edge < 30] = (boards(256, 256, 7, 23) + 8)[edge < 30]
    picture[(edge >= 30) & (edge < 33)] *= 0.55
    write(picture, '240 KG', (39, 48), 3, (120.0, 30.0, 24.0))
    return picture


def _sheet(seed: int, color: Color, size: int = 160) -> Picture:
    picture = plain(size, size, color)
    picture = mottle(picture, 8, (5, 5), seed)
    picture = mottle(picture, 5, (2, size // 3), seed + 1)
    edge = np.minimum.reduce([*np.mgrid[:size, :size], *(size - 1 - np.mgrid[:size, :size])])
    picture[edge < 2] *= 0.8
    return grain(picture, 5, seed + 2)


def _arrows(picture: Picture, row: int, column: int, color: Color) -> None:
    """Print two arrows that point up."""
    for left in (column, column + 26):
        for line in range(12):
            picture[row + line, left + 10 - line:left + 11 + line] = color
        picture[row + 12:row + 32, left + 6:left + 15] = color


def _barcode(picture: Picture, row: int, column: int, seed: int) -> None:
    picture[row:row + 36, column:column + 60] = (236.0, 236.0, 230.0)
    bars = np.random.RandomState(seed).rand(48) < 0.5
    picture[row + 5:row + 26, column + 6:column + 54][:, bars] = (24.0, 24.0, 24.0)
    picture[row + 29:row + 32, column + 6:column + 40] = (90.0, 90.0, 90.0)


def _atlas(faces: list[Picture]) -> Picture:
    """Lay out front, back, left in a row over right, top, bottom."""
    return np.concatenate((np.concatenate(faces[:3], 1), np.concatenate(faces[3:], 1)))


def _carton(
    seed: int, color: Color, tape: Color, ink: Color, words: str,
) -> Picture:
    faces = [_sheet(seed + 3 * number, color) for number in range(6)]
    for face in faces[:4]:
        face[:26, 66:94] = face[:26, 66:94] * 0.35 + np.array(tape) * 0.65
    for face in faces[4:]:
        face[79:81] *= 0.5
        face[66:94] = face[66:94] * 0.35 + np.array(tape) * 0.65
    for face in faces[:2]:
        write(face, words, (48, 80 - 9 * len(words)), 3, ink)
        _arrows(face, 112, 16, ink)
        _barcode(face, 108, 86, seed)
    for face in faces[2:4]:
        _arrows(face, 54, 56, ink)
        write(face, 'UP', (102, 62), 3, ink)
    return _atlas(faces)


def cardboard_box() -> Picture:
    """Return the six faces of a brown carton with clear tape and black print."""
    return _carton(
        31, (186.0, 146.0, 100.0), (206.0, 182.0, 140.0), (46.0, 38.0, 34.0), 'FRAGILE',
    )


def cardboard_flat() -> Picture:
    """Return the six faces of a carton with red tape and blue print."""
    return _carton(
        61, (198.0, 160.0, 116.0), (176.0, 52.0, 44.0), (30.0, 66.0, 130.0), 'PARTS',
    )


def tote() -> Picture:
    """Return the six faces of a blue plastic box: ribs, a grip, a label, and what is in it."""
    faces = []
    for number in range(6):
        face = mottle(plain(96, 96, (44.0, 92.0, 158.0)), 8, (6, 6), 91 + number)
        face[:, 7::16] *= 0.72
        face[:12] = (58.0, 110.0, 178.0)
        face[12:14] *= 0.5
        face[20:32, 30:66] = (20.0, 42.0, 76.0)
        faces.append(face)
    for face in faces[:2]:
        face[46:80, 22:74] = (232.0, 232.0, 226.0)
        write(face, 'KIT 42', (52, 27), 1, (30.0, 30.0, 30.0))
        face[66:74, 27:69:3] = (30.0, 30.0, 30.0)
    inside = plain(96, 96, (40.0, 84.0, 146.0))
    parts = mottle(plain(80, 80, (84.0, 82.0, 80.0)), 26, (20, 20), 99)
    inside[8:-8, 8:-8] = mottle(parts, 22, (7, 7), 98)
    faces[4], faces[5] = inside, plain(96, 96, (36.0, 76.0, 132.0))
    return _atlas(faces)


def pallet() -> Picture:
    """Return a weathered plank."""
    picture = boards(64, 256, 1, 41) * 0.86
    for column in (14, 128, 240):
        picture[20:24, column:column + 4] = picture[42:46, column:column + 4] = (60.0, 56.0, 54.0)
    return picture


def barrel() -> Picture:
    """Return a steel drum's mantle: two hoops, a label, dents."""
    picture = mottle(plain(192, 256, (30.0, 84.0, 140.0)), 12, (6, 8), 51)
    for row in (2, 64, 126, 184):
        picture[row:row + 5] += 34
        picture[row + 5:row + 8] *= 0.6
    rust = clouds(192, 256, (24, 32), 52)[..., 0] * np.linspace(0, 1, 192)[:, None]
    picture[rust > 0.42] = (112.0, 66.0, 38.0)
    picture[78:116, 20:84] = (236.0, 232.0, 220.0)
    write(picture, 'OIL', (86, 26), 3, (40.0, 40.0, 40.0))
    picture[78:116, 148:212] = (238.0, 186.0, 26.0)
    write(picture, 'OIL', (86, 154), 3, (40.0, 40.0, 40.0))
    return picture


def rack() -> Picture:
    """Return blue steel with holes (left), orange steel (middle), zinc sheet (right)."""
    blue = mottle(plain(128, 64, (34.0, 74.0, 140.0)), 7, (6, 3), 71)
    blue[8::16, 24:40] = blue[9::16, 24:40] = blue[10::16, 24:40] = (14.0, 24.0, 44.0)
    orange = mottle(plain(128, 64, (222.0, 104.0, 32.0)), 9, (8, 4), 72)
    zinc = grain(mottle(plain(128, 64, (150.0, 154.0, 158.0)), 10, (16, 8), 73), 8, 74)
    return np.concatenate((blue, orange, zinc), axis=1)


def concrete() -> Picture:
    """Return 4 m x 4 m of a concrete floor: stains, tyre marks, joints at its edges."""
    picture = plain(512, 512, (148.0, 147.0, 142.0))
    for strength, cells, seed in ((11, 3, 1), (8, 9, 2), (6, 40, 3)):
        picture = mottle(picture, strength, (cells, cells), seed)
    picture = grain(picture, 11, 4)
    rows, columns = np.mgrid[:512, :512]
    wander = clouds(512, 512, (3, 2), 5)[..., 0] * 24
    for line, width, depth in ((130, 9, 0.97), (168, 9, 0.965)):
        picture[np.abs(rows + wander - line) < width] *= depth
    edge = np.minimum.reduce([rows, columns, 511 - rows, 511 - columns])
    picture[edge < 2] *= 0.55
    picture[(edge >= 2) & (edge < 5)] *= 0.9
    return picture


def lane_paint() -> Picture:
    """Return yellow road paint, worn through in places."""
    picture = grain(mottle(plain(64, 256, (226.0, 176.0, 38.0)), 12, (4, 16), 8), 8, 9)
    worn = clouds(64, 256, (16, 64), 7) + 0.8 * clouds(64, 256, (3, 8), 10)
    return np.where(worn > 0.85, (156.0, 152.0, 140.0), picture)


def wall() -> Picture:
    """Return 2 m x 4 m of a wall of white blocks (0.5 m x 0.25 m) over a painted plinth."""
    picture = plain(512, 256, (206.0, 204.0, 196.0))
    rows, columns = np.mgrid[:512, :256]
    course = rows // 32
    shade = np.random.RandomState(81).rand(16, 4) * 2 - 1
    picture += (shade[course, (columns + course % 2 * 32) // 64 % 4] * 7)[..., None]
    picture[rows >= 352] = (108.0, 126.0, 136.0)
    picture = mottle(mottle(picture, 7, (8, 4), 82), 5, (64, 32), 83)
    joint = (rows % 32 < 2) | ((columns + course % 2 * 32) % 64 < 2)
    picture[joint] *= 0.86
    picture[(rows >= 348) & (rows < 354)] = (66.0, 74.0, 82.0)
    picture[rows >= 500] *= 0.7
    return picture


def roller_door() -> Picture:
    """Return a roller door's slats with a warning rail at the foot."""
    picture = mottle(plain(256, 256, (172.0, 180.0, 186.0)), 8, (6, 4), 101)
    slope = np.arange(256) % 16
    picture *= np.where(slope < 3, 0.68, 0.9 + slope / 80)[:, None, None]
    picture[-18:] = stripes(18, 256, 36)
    picture[:, :6] *= 0.7
    picture[:, -6:] *= 0.7
    write(picture, 'GATE 2', (70, 62), 4, (60.0, 70.0, 84.0))
    return picture


def door() -> Picture:
    """Return a steel door with a window, a handle and a kick plate."""
    picture = mottle(plain(256, 128, (74.0, 116.0, 108.0)), 6, (8, 4), 111)
    picture[:, [0, 1, 2, -3, -2, -1]] *= 0.6
    picture[28:104, 38:90] = (40.0, 48.0, 52.0)
    picture[32:100, 42:86] = mottle(plain(68, 44, (170.0, 196.0, 204.0)), 18, (2, 2), 112)
    picture[132:138, 100:120] = (208.0, 208.0, 210.0)
    picture[128:150, 112:118] = (160.0, 160.0, 164.0)
    picture[220:250, 6:122] = (150.0, 152.0, 152.0)
    return picture


def sign() -> Picture:
    """Return the sign over an exit."""
    picture = plain(64, 128, (24.0, 130.0, 74.0))
    picture[[2, 3, -4, -3], 2:-2] = picture[2:-2, [2, 3, -4, -3]] = (236.0, 240.0, 236.0)
    write(picture, 'EXIT', (18, 18), 4, (236.0, 240.0, 236.0))
    return picture


def dock() -> Picture:
    """Return the charging dock's front: warning stripes around its name."""
    picture = stripes(96, 192, 32)
    picture[14:82, 14:178] = (226.0, 228.0, 228.0)
    write(picture, 'DOCK', (27, 38), 5, (28.0, 108.0, 66.0))
    return picture


def safety_vest() -> Picture:
    """Return a worker's colours, in the order of ``people.py``."""
    return _colors(
        (216, 164, 132), (242, 98, 16), (26, 34, 66), (32, 26, 22), (244, 206, 32),
        (214, 218, 206),
    )


def blue_jacket() -> Picture:
    """Return a visitor's colours."""
    return _colors(
        (140, 98, 72), (34, 78, 142), (92, 98, 108), (28, 28, 28), (22, 16, 14), (40, 28, 18),
    )


def _colors(*colors: Color) -> Picture:
    """Return a row of cells, the last ones empty."""
    cells = [*colors, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
    return np.repeat(np.repeat(np.array([cells], float), 8, axis=0), 8, axis=1)


def tiles() -> Picture:
    """Return 2 m x 2 m of vinyl tiles, 0.5 m wide."""
    picture = plain(256, 256, (168.0, 160.0, 146.0))
    rows, columns = np.mgrid[:256, :256]
    picture[(rows // 64 + columns // 64) % 2 == 1] -= np.array([26.0, 22.0, 12.0])
    picture = grain(mottle(picture, 7, (5, 5), 121), 10, 122)
    picture[(rows % 64 < 1) | (columns % 64 < 1)] *= 0.7
    return picture


PAINTERS: tuple[tuple[str, Callable[[], Picture]], ...] = (
    ('crate_small', crate_small), ('crate_large', crate_large), ('cardboard_box', cardboard_box),
    ('cardboard_flat', cardboard_flat), ('tote', tote), ('pallet', pallet), ('barrel', barrel),
    ('rack', rack), ('warehouse_hall', concrete), ('warehouse_hall', lane_paint),
    ('warehouse_hall', wall), ('warehouse_hall', roller_door), ('warehouse_hall', door),
    ('warehouse_hall', sign), ('charging_dock', dock), ('corridor_hall', tiles),
    ('person_standing', safety_vest), ('person_walking', blue_jacket),
)
"""The model that a texture belongs to, and who paints it; the file is named like the painter."""


def textures() -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Yield the path below the models and the pixels (height, width, 3) of each texture."""
    for model, painter in PAINTERS:
        pixels = np.clip(np.round(painter()), 0, 255).astype(np.uint8)
        yield Path(model, 'materials', 'textures', f'{painter.__name__}.png'), pixels


def main() -> None:
    """Write all of them."""
    for path, pixels in textures():
        file = MODELS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, optimize=True)


if __name__ == '__main__':
    main()
