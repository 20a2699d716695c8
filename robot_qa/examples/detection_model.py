"""The warehouse detector: from a picture to boxes, through onnxruntime or OpenCV's DNN.

The network looks at 320 x 240 pixels and answers, for each cell of 4 x 4, how sure it is of the
middle of an object of each class there, and how far the object's sides are (X. Zhou et al.,
"Objects as Points", 2019; distances to the four sides as in Z. Tian et al., "FCOS", ICCV 2019).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import RobotQaError, did_you_mean

CLASSES = ('crate', 'person', 'pallet', 'barrel')
WIDTH, HEIGHT, STRIDE = 320, 240, 4
PADDING = 114
MOST = 100
"""Objects in a picture."""
LEAST_SCORE, MOST_OVERLAP = 0.1, 0.55
RUNTIMES = ('onnxruntime', 'opencv')
AUTO = 'auto'
"""The first of the runtimes that is installed."""
FILES = {'fp32': 'warehouse_detector.onnx', 'int8': 'warehouse_detector_int8.onnx'}
SHORT = 'warehouse_detector_short.onnx'
"""One that is worse on purpose: it has learned for a tenth of the time."""
# Channels of the encodings of sensor_msgs/Image, and where red, green and blue are in them.
ENCODINGS = {
    'rgb8': (3, (0, 1, 2)), 'bgr8': (3, (2, 1, 0)), 'rgba8': (4, (0, 1, 2)),
    'bgra8': (4, (2, 1, 0)), 'mono8': (1, (0, 0, 0)),
}
Pixels = NDArray[np.uint8]
Singles = NDArray[np.float32]
Floats = NDArray[np.float64]


class Found(NamedTuple):
    """What was found in a picture, the surest first."""

    boxes: Floats
    """Left, top, right, bottom, in px of the picture; (n, 4)."""
    labels: NDArray[np.int64]
    """Places in ``CLASSES``; (n,)."""
    scores: Floats
    """From 0 to 1; (n,)."""


class Fit(NamedTuple):
    """How a picture was fitted into the network's."""

    scale: float
    left: float
    top: float


class Network(Protocol):
    """Runs the network."""

    def __call__(self, picture: Singles) -> tuple[Singles, Singles]:
        """Return scores (classes, rows, columns) and distances (4, rows, columns), in px.

        ``picture`` is (1, 3, HEIGHT, WIDTH), red, green, blue from 0 to 1. Distances are those
        from the middle of a cell to the left, top, right and bottom.
        """


def as_rgb(data: bytes | Pixels, shape: tuple[int, int], step: int, encoding: str) -> Pixels:
    """Return an image message's pixels as red, green, blue; (height, width, 3).

    ``shape`` is height and width, ``step`` the bytes of a row. Raises `RobotQaError` for an
    encoding that has no colours of 8 bits, and for data of another length.
    """
    if encoding not in ENCODINGS:
        hint = did_you_mean(encoding, ENCODINGS)
        raise RobotQaError(
            f'the encoding "{encoding}" is none of {", ".join(ENCODINGS)}{hint}')
    (height, width), (channels, order) = shape, ENCODINGS[encoding]
    flat = np.frombuffer(data, np.uint8)
    if step < width * channels or len(flat) != step * height:
        raise RobotQaError(f'{len(flat)} bytes in rows of {step} are no {encoding} picture of '
                           f'{width} x {height}')
    rows = flat.reshape(height, step)[:, :width * channels].reshape(height, width, channels)
    return rows if order == (0, 1, 2) and channels == 3 else rows[..., order]


def fitted(picture: Pixels) -> tuple[Singles, Fit]:
    """Return a picture (h, w, 3) as the network takes it, and how it was fitted in.

    It keeps its proportions; what is left over at two sides is grey. Raises `RobotQaError` for an
    empty picture.
    """
    height, width = picture.shape[:2]
    if not height or not width:
        raise RobotQaError('the picture has no pixels')
    scale = min(WIDTH / width, HEIGHT / height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (WIDTH - columns) // 2, (HEIGHT - rows) // 2
    if (columns, rows) != (width, height):
        how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(picture, (columns, rows), interpolation=how), np.uint8)
    canvas = picture
    if (columns, rows) != (WIDTH, HEIGHT):
        canvas = np.full((HEIGHT, WIDTH, 3), PADDING, np.uint8)
        canvas[top:top + rows, left:left + columns] = picture
    values = canvas.astype(np.float32) / np.float32(255.0)
    return np.ascontiguousarray(values.transpose(2, 0, 1))[None], Fit(scale, left, top)


def decoded(
    scores: Singles, sides: Singles, least_score: float = LEAST_SCORE,
    most_overlap: float = MOST_OVERLAP,
) -> Found:
    """Return the objects that a network's answer (see `Network`) is about, in its own pixels.

    A cell counts where no neighbour is surer of the same class; of two boxes of a class whose
    intersection over union is more than ``most_overlap`` the surer one stays.
    """
    highest = np.stack([cv2.dilate(one, np.ones((3, 3), np.uint8)) for one in scores])
    labels, rows, columns = np.nonzero((scores >= max(least_score, 1e-6)) & (scores == highest))
    certainty = scores[labels, rows, columns].astype(np.float64)
    # Ties are broken by place, so that the same picture gives the same order everywhere.
    order = np.lexsort((columns, rows, labels, -certainty))[:2 * MOST]
    labels, rows, columns = labels[order], rows[order], columns[order]
    left, top, right, bottom = sides[:, rows, columns].astype(np.float64)
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    boxes = np.stack((x - left, y - top, x + right, y + bottom), axis=1)
    kept = suppressed(boxes, labels, most_overlap)[:MOST]
    return Found(boxes[kept], labels[kept], certainty[order][kept])


def suppressed(
    boxes: Floats, labels: NDArray[np.int64], most_overlap: float,
) -> NDArray[np.int64]:
    """Return the rows that stay when those too much like a surer one of their class go.

    Rows are sorted, the surest first (greedy non-maximum suppression). ``boxes`` (n, 4) are left,
    top, right, bottom.
    """
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.maximum(high - low, 0.0).prod(axis=2)
    area = size.prod(axis=1)
    union = area[:, None] + area[None] - common
    alike = (common > most_overlap * union) & (labels[:, None] == labels[None])
    stays = np.ones(len(boxes), bool)
    for row in range(len(boxes)):
        if stays[row]:
            stays[row + 1:] &= ~alike[row, row + 1:]
    return np.flatnonzero(stays)


def unfitted(found: Found, fit: Fit, shape: tuple[int, int]) -> Found:
    """Return what was found in pixels of the picture itself, of height and width ``shape``.

    Boxes end where the picture ends; those that lie outside of it go.
    """
    boxes = (found.boxes - [fit.left, fit.top, fit.left, fit.top]) / fit.scale
    height, width = shape
    boxes = np.clip(boxes, 0.0, [width, height, width, height])
    there = ((boxes[:, 2:] - boxes[:, :2]) > 0.0).all(axis=1)
    return Found(boxes[there], found.labels[there], found.scores[there])


class DetectionModel:
    """A network from a file, from picture to boxes."""

    def __init__(
        self, file: Path, runtime: str = AUTO, threads: int = 1,
        least_score: float = LEAST_SCORE,
    ) -> None:
        """Load it and run it once; `RobotQaError` says what is wrong or missing."""
        self.least_score = least_score
        self._network, self.runtime = load(file, runtime, threads)
        try:
            scores, sides = self._network(np.zeros((1, 3, HEIGHT, WIDTH), np.float32))
        except Exception as error:  # the runtimes' errors have no common type
            raise RobotQaError(f'{file}: no network that takes one picture of 3 x {HEIGHT} x '
                               f'{WIDTH} and gives scores and sides: {error}') from error
        cells = (HEIGHT // STRIDE, WIDTH // STRIDE)
        if (scores.shape, sides.shape) != ((len(CLASSES), *cells), (4, *cells)):
            raise RobotQaError(
                f'{file}: answers of shape {scores.shape} and {sides.shape} instead of '
                f'{(len(CLASSES), *cells)} scores and {(4, *cells)} distances')

    def __call__(self, picture: Pixels) -> Found:
        """Return what is found in a picture of red, green, blue; (h, w, 3)."""
        given, fit = fitted(picture)
        found = decoded(*self._network(given), self.least_score)
        return unfitted(found, fit, picture.shape[:2])


def shipped_model(precision: str) -> Path:
    """Return the file of the ``fp32`` or ``int8`` network."""
    if precision not in FILES:
        raise RobotQaError(f'the precision "{precision}" is none of {", ".join(FILES)}'
                           f'{did_you_mean(precision, FILES)}')
    return shipped(FILES[precision])


def shipped(name: str) -> Path:
    """Return a file of ``models/``, in the repository or where it was installed."""
    above = Path(__file__).resolve().parents
    folders = [above[2] / 'models', *(one / 'share' / 'robot_qa' / 'models' for one in above)]
    files = [folder / name for folder in folders]
    return next((file for file in files if file.is_file()), files[0])


def load(file: Path, runtime: str, threads: int) -> tuple[Network, str]:
    """Return the network in a file, and what it is run by, which ``auto`` leaves open.

    It gets ``threads`` threads; with opencv, all of OpenCV in this process does.
    """
    if runtime not in (AUTO, *RUNTIMES):
        raise RobotQaError(f'the runtime "{runtime}" is none of {AUTO}, {", ".join(RUNTIMES)}'
                           f'{did_you_mean(runtime, RUNTIMES)}')
    if not file.is_file():
        raise RobotQaError(f'there is no model {file}')
    if runtime == AUTO:
        runtime = RUNTIMES[find_spec('onnxruntime') is None]
    network = _OnnxRuntime if runtime == 'onnxruntime' else _OpenCv
    return network(file, threads), runtime


class _OnnxRuntime:
    def __init__(self, file: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise RobotQaError('onnxruntime is not installed: pip install "robot_qa[detector]", '
                               'or take the runtime opencv') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait must not take the time of other nodes.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=['CPUExecutionProvider'])
        except Exception as error:
            raise RobotQaError(f'{file}: no model for onnxruntime: {error}') from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, picture: Singles) -> tuple[Singles, Singles]:
        scores, sides = self._session.run(['scores', 'sides'], {self._input: picture})
        return scores[0], sides[0]


class _OpenCv:
    def __init__(self, file: Path, threads: int) -> None:
        cv2.setNumThreads(threads)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(file))
        except cv2.error as error:
            raise RobotQaError(f'{file}: no model for OpenCV: {error}') from error

    def __call__(self, picture: Singles) -> tuple[Singles, Singles]:
        self._net.setInput(picture)
        scores, sides = self._net.forward(['scores', 'sides'])
        return np.asarray(scores, np.float32)[0], np.asarray(sides, np.float32)[0]
