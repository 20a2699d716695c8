"""Wavefront OBJ files, the same text each time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Mesh:
    """Quadrangles with normals and texture coordinates."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, int]] = {'v': {}, 'vt': {}, 'vn': {}}
        self._faces: list[str] = []

    def _number(self, kind: str, values: Floats) -> int:
        digits = 2 if kind == 'vn' else 4
        texts = [f'{value:.{digits}f}'.rstrip('0').rstrip('.') for value in values]
        row = ' '.join('0' if text == '-0' else text for text in texts)
        return self._rows[kind].setdefault(row, len(self._rows[kind]) + 1)

    def face(self, corners: Floats, uv: Floats) -> None:
        """Add a quadrangle; corners (4, 3) anticlockwise as seen from outside, uv (4, 2)."""
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        normal /= np.linalg.norm(normal)
        self.smooth([(*both, normal) for both in zip(corners, uv, strict=True)])

    def smooth(self, corners: Iterable[tuple[Floats, Floats, Floats]]) -> None:
        """Add a face of corners, each with its point (3,), uv (2,) and normal (3,)."""
        kinds = ('v', 'vt', 'vn')
        self._faces.append(' '.join(
            '/'.join(str(self._number(*one)) for one in zip(kinds, corner, strict=True))
            for corner in corners
        ))

    def text(self) -> str:
        """Return it as Wavefront OBJ."""
        rows = [f'{kind} {row}' for kind, known in self._rows.items() for row in known]
        return '\n'.join([*rows, *(f'f {face}' for face in self._faces), ''])
