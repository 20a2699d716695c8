"""What the textures are painted with.

A picture is an array (height, width, 3) of floats from 0 to 255, row 0 at the top. Randomness
comes from ``RandomState``, whose numbers NumPy keeps from version to version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float64]
Color = tuple[float, float, float]
GRADES = 5.0
"""Between two shades of grain: noise of few shades makes files a third as large."""
GLYPHS = {
    'A': '0e11111f111111', 'B': '1e11111e11111e', 'C': '0e11101010110e', 'D': '1e11111111111e',
    'E': '1f10101e10101f', 'F': '1f10101e101010', 'G': '0e11101711110f', 'H': '1111111f111111',
    'I': '0e04040404040e', 'K': '11121418141211', 'L': '1010101010101f', 'N': '11191513111111',
    'O': '0e11111111110e', 'P': '1e11111e101010', 'Q': '0e11111115120d', 'R': '1e11111e141211',
    'S': '0f10100e01011e', 'T': '1f040404040404', 'U': '1111111111110e', 'X': '11110a040a1111',
    '0': '0e11131519110e', '2': '0e11010608101f', '4': '02060a121f0202', '7': '1f010204080808',
    ' ': '00000000000000',
}
"""Letters of 5 x 7: two hexadecimal digits for a row, from the top."""
WOOD = (178.0, 136.0, 88.0)


def plain(height: int, width: int, color: Color) -> Picture:
    """Return a picture of one colour."""
    return np.full((height, width, 3), color)


def clouds(height: int, width: int, cells: tuple[int, int], seed: int) -> Picture:
    """Return smooth noise (height, width, 1) from -1 to 1 that repeats at its edges."""
    knots = np.random.RandomState(seed).rand(*cells) * 2 - 1
    smooth = []
    for size, count in zip((height, width), cells, strict=True):
        at = np.arange(size) * count / size
        low = at.astype(int)
        share = at - low
        smooth.append((low, (low + 1) % count, share * share * (3 - 2 * share)))
    (top, bottom, down), (left, right, across) = smooth
    upper = knots[top][:, left] * (1 - across) + knots[top][:, right] * across
    lower = knots[bottom][:, left] * (1 - across) + knots[bottom][:, right] * across
    return np.asarray(upper * (1 - down[:, None]) + lower * down[:, None])[..., None]


def grain(picture: Picture, strength: float, seed: int) -> Picture:
    """Add noise that differs from pixel to pixel."""
    random = np.random.RandomState(seed).rand(*picture.shape[:2], 1) * 2 - 1
    return np.asarray(picture + np.round(random * strength / GRADES) * GRADES)


def mottle(picture: Picture, strength: float, cells: tuple[int, int], seed: int) -> Picture:
    """Add smooth stains."""
    stains = clouds(picture.shape[0], picture.shape[1], cells, seed) * strength
    return np.asarray(picture + np.round(stains / 2) * 2)


def write(
    picture: Picture, words: str, at: tuple[int, int], size: int, color: Color,
) -> None:
    """Stencil words with their upper left corner at (row, column); ``size`` pixels for a dot."""
    for number, letter in enumerate(words):
        rows = bytes.fromhex(GLYPHS[letter])
        dots = np.array([[row >> (4 - bit) & 1 for bit in range(5)] for row in rows], bool)
        stencil = np.kron(dots, np.ones((size, size), bool))
        row, column = at[0], at[1] + number * 6 * size
        picture[row:row + stencil.shape[0], column:column + stencil.shape[1]][stencil] = color


def stripes(height: int, width: int, pitch: int) -> Picture:
    """Return black and yellow warning stripes at 45 degrees."""
    rows, columns = np.mgrid[:height, :width]
    dark = (rows + columns) % pitch < pitch // 2
    return np.where(dark[..., None], (32.0, 32.0, 34.0), (238.0, 186.0, 26.0))


def boards(height: int, width: int, count: int, seed: int) -> Picture:
    """Return horizontal planks with grain along them and gaps between them."""
    picture = plain(height, width, WOOD)
    shade = np.random.RandomState(seed).rand(count) * 2 - 1
    plank = np.minimum(np.arange(height) * count // height, count - 1)
    picture += (shade[plank] * 22)[:, None, None] * np.array([1.0, 0.9, 0.8])
    picture = mottle(picture, 16, (height // 3, 4), seed + 1)
    picture = mottle(picture, 9, (height // 2, 12), seed + 2)
    edge = np.arange(height) * count % height
    picture[edge < count * 2] = (62.0, 44.0, 28.0)
    return picture
