"""Spoiled pictures: how they change, worked out by hand, and that nothing else does."""

from __future__ import annotations

import contextlib
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from robot_qa.errors import MessageError, RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.corruption import FlipBits
from robot_qa.scenario.image_faults import (
    DeadPixels,
    Defocus,
    ImageNoise,
    JpegArtefacts,
    LowLight,
    MotionBlur,
    Occlusion,
    Rotation,
)
from robot_qa.scenario.transforms import ContentFault
from samples import START, STORE, TYPES, header, serialized

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
OURS = TypeStore(workspace=False)
COLOR = ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16', '8UC1', '8UC3', '8UC4']
DEPTH = ['16UC1', '32FC1']
CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, '8UC3': 3, '8UC4': 4}
DTYPES = {'mono16': 'u2', '16UC1': 'u2', '32FC1': 'f4'}
# Those for brightness only, then those for depth too.
OPTICAL: list[ContentFault] = [
    LowLight(0.3, 0.02), Defocus(1.5), MotionBlur(5.0, 30.0), JpegArtefacts(10),
]
ANY: list[ContentFault] = [
    ImageNoise(0.05), Occlusion(0.25, 0.25, 0.5, 0.5), Rotation(20.0), DeadPixels(0.1, 0.5),
]


def image(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> bytes:
    """Rows are followed by ``padding`` bytes of 0xAB."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return serialized(TYPES[IMAGE](
        header=header(START, 'camera'), height=height, width=width, encoding=encoding,
        is_bigendian=int(big), step=data.shape[1], data=data.ravel()))


def pixels_of(message: bytes) -> np.ndarray:
    """All channels, shape (height, width, channels)."""
    decoded = STORE.deserialize_cdr(message, IMAGE)
    dtype = np.dtype(DTYPES.get(decoded.encoding, 'u1'))
    dtype = dtype.newbyteorder('>' if decoded.is_bigendian else '<')
    channels = CHANNELS.get(decoded.encoding, 1)
    rows = decoded.data.reshape(decoded.height, decoded.step)
    rows = np.ascontiguousarray(rows[:, :decoded.width * channels * dtype.itemsize])
    return rows.view(dtype).reshape(decoded.height, decoded.width, channels)


def picture(encoding: str, height: int = 40, width: int = 60, seed: int = 5) -> np.ndarray:
    """Smooth with some texture, far from black, white and depth zero."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(DTYPES.get(encoding, 'u1'))
    shape = (height, width, CHANNELS.get(encoding, 1))
    levels = 100 + 60 * np.sin(np.arange(width) / 9.0)[:, None] + rng.uniform(-9, 9, shape)
    return (levels * {'u2': 100, 'f4': 0.05}.get(dtype.str[1:], 1)).astype(dtype)


def flat(level: float, encoding: str = 'rgb8', height: int = 200, width: int = 300) -> np.ndarray:
    dtype = DTYPES.get(encoding, 'u1')
    return np.full((height, width, CHANNELS.get(encoding, 1)), level, dtype)


def compressed(pixels: np.ndarray, ending: str, name: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if ending == '.jpg' else []
    data = cv2.imencode(ending, pixels, options)[1].ravel()
    return serialized(TYPES[COMPRESSED](header=header(START, 'camera'), format=name, data=data))


def decoded(message: bytes) -> np.ndarray:
    data = STORE.deserialize_cdr(message, COMPRESSED).data
    return np.atleast_3d(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))


def applied(
    fault: ContentFault, *messages: bytes, type_name: str = IMAGE, seed: int = 1,
) -> list[bytes]:
    results = []
    for _ in range(2):
        transform = fault.compiled(OURS, type_name)
        generator = np.random.default_rng(seed)
        results.append([transform(message, generator) for message in messages])
    assert results[0] == results[1], 'the same seed gave other bytes'
    return results[0]


def changed(fault: ContentFault, pixels: np.ndarray, encoding: str) -> np.ndarray:
    return pixels_of(applied(fault, image(pixels, encoding))[0]).astype(float)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('fault, encoding', [
    *((fault, encoding) for fault in OPTICAL for encoding in COLOR
      if not (isinstance(fault, JpegArtefacts) and encoding == 'mono16')),
    *((fault, encoding) for fault in ANY for encoding in COLOR + DEPTH),
], ids=str)
def test_only_pixels_change(fault: ContentFault, encoding: str, big: bool) -> None:
    before = picture(encoding)
    message = image(before, encoding, padding=6, big=big)
    [out] = applied(fault, message)
    after = pixels_of(out)
    assert out == image(after, encoding, padding=6, big=big), 'more than the pixels changed'
    assert (after[..., :3] != before[..., :3]).any(), 'nothing changed'
    np.testing.assert_array_equal(after[..., 3:], before[..., 3:])
    if after.shape[2] > 1:
        assert all((after[..., i] != before[..., i]).any() for i in range(3))
    # Neither padding nor byte order matters to the result.
    assert pixels_of(applied(fault, image(before, encoding))[0]).tobytes() == (
        after.astype(before.dtype).tobytes())


@pytest.mark.parametrize('fault', [LowLight(0.5, 0.01), ImageNoise(0.01), DeadPixels(0.01)])
def test_another_seed_gives_another_picture(fault: ContentFault) -> None:
    message = image(picture('rgb8'), 'rgb8')
    assert applied(fault, message) != applied(fault, message, seed=2)


def test_noise_is_new_in_every_image() -> None:
    one, two = applied(ImageNoise(0.02), *[image(flat(128), 'rgb8')] * 2)
    noise = [pixels_of(message).astype(float).ravel() - 128 for message in (one, two)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.02


@pytest.mark.parametrize('encoding, full', [('rgb8', 255), ('mono16', 65535)])
def test_low_light(encoding: str, full: int) -> None:
    level = round(0.8 * full)
    assert set(changed(LowLight(0.25), flat(level, encoding), encoding).ravel()) == {
        round(0.25 * level)}
    noisy = changed(LowLight(0.25, 0.02), flat(level, encoding), encoding)
    assert abs(noisy.mean() - 0.2 * full) < 5 * 0.02 * full / math.sqrt(noisy.size) + 0.05
    assert abs(noisy.std() / (0.02 * full) - 1) < 0.02
    assert set(changed(LowLight(0.0), flat(level, encoding), encoding).ravel()) == {0}
    untouched = image(flat(level, encoding), encoding)
    assert applied(LowLight(1.0), untouched) == [untouched]


@pytest.mark.parametrize('level, low, high', [(0, 0, 60), (255, 195, 255)])
def test_noise_is_clipped(level: int, low: int, high: int) -> None:
    noisy = changed(ImageNoise(0.05), flat(level), 'rgb8')
    assert noisy.min() >= low
    assert noisy.max() <= high
    # Half of it lies beyond black or white; rounding adds what is less than half a level.
    assert abs(np.mean(noisy == level) - 0.5) < 0.03


def test_noise_is_normal() -> None:
    noise = (changed(ImageNoise(0.05), flat(128), 'mono8') - 128) / (0.05 * 255)
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size)
    for limit, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        # One level is 0.08 deviations, which is up to 0.02 of the distribution.
        assert abs(np.mean(np.abs(noise) <= limit) - share) < 0.03
    assert abs(np.mean(noise ** 4) - 3.0) < 0.2


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('encoding, depth', [('16UC1', 4000), ('32FC1', 4.0)])
def test_depth_noise_is_a_share_of_the_depth(encoding: str, depth: float) -> None:
    before = flat(depth, encoding)
    before[0] = 0
    if encoding == '32FC1':
        before[1], before[2] = math.nan, math.inf
        # A signalling NaN, which numpy warns of when it computes with it.
        before[1, 0] = np.array([0x7FA00001], np.uint32).view(np.float32)
    after = pixels_of(applied(ImageNoise(0.01), image(before, encoding))[0])
    np.testing.assert_array_equal(after[:3], np.where(before[:3] == depth, after[:3], before[:3]))
    assert abs(after[3:].mean() / depth - 1) < 5 * 0.01 / math.sqrt(after[3:].size)
    assert abs(after[3:].std() / (0.01 * depth) - 1) < 0.03


def test_noise_makes_no_depth_negative_or_unmeasured() -> None:
    after = changed(ImageNoise(1.0), flat(4.0, '32FC1'), '32FC1')
    # Where the noise is more than the depth itself.
    assert abs(np.mean(after == 0.0) - 0.1587) < 0.01
    assert after.min() == 0.0
    assert changed(ImageNoise(1.0), flat(4000, '16UC1'), '16UC1').min() == 1


def edge(encoding: str = 'mono8') -> np.ndarray:
    """Black left of column 30, bright from there on."""
    pixels = flat(0, encoding, 41, 60)
    pixels[:, 30:] = 200
    return pixels


def test_defocus() -> None:
    row = changed(Defocus(2.0), edge(), 'mono8')[20, :, 0]
    # An edge becomes the distribution function of the normal distribution.
    expected = [100 * (1 + math.erf((x - 29.5) / (2.0 * math.sqrt(2)))) for x in range(60)]
    np.testing.assert_allclose(row, expected, atol=2.0)


def dot(encoding: str = 'mono16') -> np.ndarray:
    pixels = flat(0, encoding, 41, 41)
    pixels[20, 20] = 60_000
    return pixels


@pytest.mark.parametrize('angle, direction', [
    (0.0, (1, 0)), (90.0, (0, 1)), (45.0, (math.sqrt(0.5), math.sqrt(0.5))),
    (-30.0, (math.sqrt(0.75), -0.5)),
])
def test_motion_blur(angle: float, direction: tuple[float, float]) -> None:
    spread = changed(MotionBlur(12.0, angle), dot(), 'mono16')[..., 0] / 60_000
    rows, columns = np.indices(spread.shape)
    x, y = columns - 20, 20 - rows
    along = x * direction[0] + y * direction[1]
    across = x * direction[1] - y * direction[0]
    assert spread.sum() == pytest.approx(1.0, abs=0.003)
    assert (spread * along).sum() == pytest.approx(0.0, abs=0.05)
    # Uniform over 12 pixels: variance 144 / 12; interpolation adds at most a quarter.
    assert (spread * along ** 2).sum() == pytest.approx(12.0, abs=0.4)
    assert (spread * across ** 2).sum() < 0.3


def test_occlusion() -> None:
    before = picture('rgb8', 40, 60)
    expected = before.copy()
    expected[10:30, 6:21] = 51
    fault = Occlusion(x=0.1, y=0.25, width=0.25, height=0.5, brightness=0.2)
    assert applied(fault, image(before, 'rgb8')) == [image(expected, 'rgb8')]
    over = before.copy()
    over[:, 54:] = 0
    assert applied(Occlusion(0.9, 0.0, 1.0, 1.0), image(before, 'rgb8')) == [image(over, 'rgb8')]


@pytest.mark.parametrize('encoding, nothing', [('16UC1', 0), ('32FC1', math.nan)])
def test_an_occluded_depth_camera_sees_nothing(encoding: str, nothing: float) -> None:
    before = picture(encoding)
    expected = before.copy()
    expected[:20] = nothing
    out = applied(Occlusion(0.0, 0.0, 1.0, 0.5, brightness=1.0), image(before, encoding))
    assert out == [image(expected, encoding)]


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_jpeg_artefacts(encoding: str) -> None:
    before = picture(encoding)
    worst, bad, good = (
        np.abs(changed(JpegArtefacts(quality), before, encoding) - before).mean()
        for quality in (2, 20, 95)
    )
    assert worst > bad > good > 0
    assert good < 4 < worst


def test_jpeg_knows_which_channel_is_red() -> None:
    bgr = picture('bgr8')
    expected = cv2.imdecode(cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 7])[1], 1)
    np.testing.assert_array_equal(changed(JpegArtefacts(7), bgr, 'bgr8'), expected)
    np.testing.assert_array_equal(
        changed(JpegArtefacts(7), bgr[..., ::-1], 'rgb8'), expected[..., ::-1])


@pytest.mark.parametrize('encoding', ['rgb8', 'mono16', '16UC1', '32FC1'])
@pytest.mark.parametrize('angle, turns', [(90.0, 1), (180.0, 2), (-90.0, 3), (360.0, 0)])
def test_rotation_by_right_angles(encoding: str, angle: float, turns: int) -> None:
    before = picture(encoding, 41, 41)
    after = changed(Rotation(angle), before, encoding)
    np.testing.assert_allclose(after, np.rot90(before, turns), atol=1e-3)


def test_rotation_about_the_centre() -> None:
    before = flat(0, 'mono8', 41, 61)
    before[18:23, 43:48] = 200
    after = changed(Rotation(30.0), before, 'mono8')[..., 0]
    rows, columns = np.indices(after.shape)
    # 15 pixels to the right of the centre turn to 15 cos 30 right and 15 sin 30 up.
    right, down = ((after * at).sum() / after.sum() for at in (columns, rows))
    assert right == pytest.approx(30 + 15 * math.sqrt(0.75), abs=0.1)
    assert down == pytest.approx(20 - 7.5, abs=0.1)


@pytest.mark.parametrize('encoding, outside', [('rgb8', 0.0), ('16UC1', 0.0), ('32FC1', math.nan)])
def test_corners_that_turn_in_are_empty(encoding: str, outside: float) -> None:
    before = picture(encoding, 40, 40)
    after = changed(Rotation(45.0), before, encoding)
    np.testing.assert_array_equal(after[[0, 0, -1, -1], [0, -1, 0, -1]].ravel(), outside)
    assert (after[15:25, 15:25] > 0).all()


def test_dead_pixels() -> None:
    before = flat(100)
    messages = [image(before, 'rgb8'), image(before + 50, 'rgb8')]
    one, two = (pixels_of(m) for m in applied(DeadPixels(0.02, hot=0.25), *messages))
    dead, hot = (one == 0).all(axis=2), (one == 255).all(axis=2)
    assert abs((dead | hot).mean() - 0.02) < 5 * math.sqrt(0.02 / 60_000)
    assert abs(hot.sum() / (dead | hot).sum() - 0.25) < 5 * math.sqrt(0.1875 / 1200)
    assert (one[~(dead | hot)] == 100).all()
    # The same ones in the next image.
    np.testing.assert_array_equal((two == 0).all(axis=2), dead)
    np.testing.assert_array_equal((two == 255).all(axis=2), hot)
    assert (two[~(dead | hot)] == 150).all()


def test_dead_pixels_of_a_depth_camera_measure_nothing() -> None:
    after = changed(DeadPixels(0.1, hot=0.5), flat(2.0, '32FC1'), '32FC1')
    assert abs(np.isnan(after).mean() - 0.1) < 5 * math.sqrt(0.09 / after.size)
    assert (after[~np.isnan(after)] == 2.0).all()


# --- compressed images ---------------------------------------------------------------------------


@pytest.mark.parametrize('fault', [*OPTICAL, *ANY], ids=str)
@pytest.mark.parametrize('ending, name, encoding', [
    ('.jpg', 'jpeg', 'bgr8'), ('.png', 'png', 'bgr8'), ('.png', 'bgra8; png compressed', 'bgra8'),
    ('.jpg', 'mono8; jpeg compressed ', 'mono8'),
])
def test_compressed_images(fault: ContentFault, ending: str, name: str, encoding: str) -> None:
    message = compressed(picture(encoding), ending, name)
    seen = decoded(message)
    [out] = applied(fault, message, type_name=COMPRESSED)
    # What the fault does to the same pixels in a plain image, encoded as before.
    expected = pixels_of(applied(fault, image(seen, encoding))[0])
    assert (expected != seen).any()
    np.testing.assert_array_equal(decoded(out), decoded(compressed(expected, ending, name)))
    data = STORE.deserialize_cdr(out, COMPRESSED).data
    assert out == serialized(TYPES[COMPRESSED](
        header=header(START, 'camera'), format=name, data=data))
    assert data[:2].tobytes() == {'.jpg': b'\xff\xd8', '.png': b'\x89P'}[ending]


def test_compressed_depth() -> None:
    message = compressed(picture('16UC1'), '.png', '16UC1; png compressed')
    [out] = applied(Occlusion(0, 0, 1, 0.5, 1.0), message, type_name=COMPRESSED)
    expected = decoded(message)
    expected[:20] = 0
    np.testing.assert_array_equal(decoded(out), expected)
    with pytest.raises(RobotQaError, match='this image holds depths'):
        applied(Defocus(1.0), message, type_name=COMPRESSED)


# --- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize('fault', [*OPTICAL, *ANY], ids=str)
def test_other_types_are_refused(fault: ContentFault) -> None:
    with pytest.raises(RobotQaError, match='LaserScan, only on sensor_msgs/msg/Image and'):
        fault.compiled(OURS, 'sensor_msgs/msg/LaserScan')
    with pytest.raises(RobotQaError, match='did you mean "sensor_msgs/msg/Image"'):
        fault.compiled(OURS, 'sensor_msgs/msg/Images')


@pytest.mark.parametrize('encoding', DEPTH)
@pytest.mark.parametrize('fault', OPTICAL, ids=str)
def test_optical_faults_refuse_depth_images(fault: ContentFault, encoding: str) -> None:
    with pytest.raises(RobotQaError, match='is for brightness; this image holds depths'):
        applied(fault, image(picture(encoding), encoding))


def garbage(edit: Callable[[Any], None]) -> bytes:
    message = STORE.deserialize_cdr(image(picture('rgb8'), 'rgb8'), IMAGE)
    edit(message)
    return serialized(message)


@pytest.mark.parametrize('message, error, complaint', [
    (garbage(lambda m: setattr(m, 'encoding', 'rgb')), RobotQaError,
     'encoded as "rgb" cannot be changed.*did you mean "rgb8"'),
    (garbage(lambda m: setattr(m, 'height', 41)), MessageError,
     '60 x 41 pixels of rgb8 in rows of 180 bytes do not fit into 7200'),
    (garbage(lambda m: setattr(m, 'step', 179)), MessageError, 'in rows of 179 bytes'),
    (image(picture('mono16'), 'mono16')[:-1], MessageError, 'are left'),
])
def test_images_that_cannot_be_changed(
    message: bytes, error: type[Exception], complaint: str,
) -> None:
    with pytest.raises(error, match=complaint):
        applied(LowLight(0.5), message)


def test_jpeg_has_8_bits() -> None:
    with pytest.raises(RobotQaError, match='8 bits; this one has 16'):
        applied(JpegArtefacts(5), image(picture('mono16'), 'mono16'))


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


# It promises 30 GB of pixels.
HUGE_PNG = b'\x89PNG\r\n\x1a\n' + png_chunk(
    b'IHDR', struct.pack('>2I5B', 100_000, 100_000, 8, 2, 0, 0, 0)) + png_chunk(b'IDAT', b'')


@pytest.mark.parametrize('data, error, complaint', [
    (b'\0' * 12 + b'\x89PNG\r\n\x1a\n', RobotQaError, 'data of "any" is neither JPEG nor PNG'),
    (b'', RobotQaError, 'neither JPEG nor PNG'),
    (HUGE_PNG, MessageError, 'png data of "any" cannot be decoded'),
    (b'\xff\xd8\xff\xe0garbage', MessageError, 'jpg data of "any" cannot be decoded'),
])
def test_compressed_images_that_cannot_be_changed(
    data: bytes, error: type[Exception], complaint: str,
) -> None:
    message = serialized(TYPES[COMPRESSED](
        header=header(START), format='any', data=np.frombuffer(data, np.uint8)))
    with pytest.raises(error, match=complaint):
        applied(LowLight(0.5), message, type_name=COMPRESSED)


@pytest.mark.parametrize('fault', [*OPTICAL, *ANY], ids=str)
def test_empty_images_pass(fault: ContentFault) -> None:
    empty = serialized(TYPES[IMAGE](
        header=header(START), height=0, width=0, encoding='rgb8', is_bigendian=0, step=0,
        data=np.array([], np.uint8)))
    assert applied(fault, empty) == [empty]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('type_name, message', [
    *((IMAGE, image(picture(encoding, 8, 10), encoding)) for encoding in ('rgb8', '32FC1')),
    (COMPRESSED, compressed(picture('bgr8', 8, 10), '.jpg', 'jpeg')),
    (COMPRESSED, compressed(picture('bgr8', 8, 10), '.png', 'png')),
], ids=['rgb8', '32FC1', 'jpg', 'png'])
def test_corrupt_images_change_or_are_reported(type_name: str, message: bytes) -> None:
    flip = FlipBits(4).compiled(OURS, type_name)
    generator = np.random.default_rng(2)
    for i in range(100):
        broken = flip(message, generator)
        broken = broken[:int(generator.integers(len(broken)))] if i % 5 == 0 else broken
        for fault in OPTICAL + ANY:
            with contextlib.suppress(RobotQaError):
                fault.compiled(OURS, type_name)(broken, generator)


@pytest.mark.parametrize('fault, complaint', [
    (LowLight(1.5), 'gain is 1.5; it must lie between 0 and 1'), (LowLight(0.5, -1), 'noise'),
    (ImageNoise(2.0), 'stddev'), (Defocus(0.0), 'sigma is 0.0; it must be at least 0.1'),
    (MotionBlur(-1.0), 'length'), (Occlusion(0, 0, 2, 1), 'width is 2'),
    (JpegArtefacts(0), 'quality'), (DeadPixels(-0.5), 'share'), (DeadPixels(0.5, 3), 'hot'),
])
def test_parameters_without_a_meaning(fault: ContentFault, complaint: str) -> None:
    with pytest.raises(RobotQaError, match=complaint):
        fault.compiled(OURS, IMAGE)
