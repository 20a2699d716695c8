"""Accuracy of everything that is no detection in images: green, red, and equal to the cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from perception_samples import (
    CLASS,
    DETECTIONS,
    IMAGE,
    PREDICTED,
    TRUE,
    box,
    classes,
    images,
    journal,
    judged,
    made,
    panel,
    pose,
    result,
    scene,
    seen,
    sent,
    stream,
    verdicts,
)
from robot_qa.geometry import Poses
from robot_qa.perception.depth import Depth
from robot_qa.perception.tracking import Tracking
from robot_qa.perception.trajectory import Trajectory
from robot_qa.probes.batch import Batch
from samples import MS, START, header, serialized

FRAMES = 300
ODOMETRY, POSE = 'nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped'
SPACE = 'vision_msgs/msg/Detection3DArray'
STORE_OF_OTHERS = get_typestore(Stores.ROS2_KILTED)
STORE_OF_OTHERS.register(get_types_from_msg(
    'string kind\nfloat32 sure\nfloat32[4] corners\nfloat32 left\nfloat32 top\n'
    'float32 right\nfloat32 bottom\nint32 track\n', 'my_msgs/msg/Thing'))
STORE_OF_OTHERS.register(get_types_from_msg(
    'builtin_interfaces/Time at\nThing[] things\n', 'my_msgs/msg/Things'))


# Tracking


def walkers(frame: int) -> list[dict[str, Any]]:
    return [box('person', 30 + frame % 200, 60, own='ann'),
            box('person', 250 - frame % 200, 150, own='bob')]


def tracked(frame: int, period: int = 10**6, miss: int = 0) -> list[dict[str, Any]]:
    """Ids 1 and 2, which change places every so often; one is missed every so often."""
    found = [{**one, 'own': str(1 + (place + frame // period) % 2)}
             for place, one in enumerate(walkers(frame))]
    return found[1:] if miss and frame % miss == 0 else found


TRACKING = ('task: tracking\nmetrics: {hota: 80 %, idf1: 80 %, mota: 90 %, motp: 70 %, '
            'switches: 2, fragmentations: 2}')


def test_tracking(tmp_path: Path) -> None:
    def run(**faults: int) -> dict[str, Any]:
        return judged(panel(tmp_path, TRACKING), stream(
            PREDICTED, lambda frame: tracked(frame, **faults), range(FRAMES)),
            stream(TRUE, walkers, range(FRAMES), after=0))

    found = run()
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    swapped = run(period=30)
    assert verdicts(swapped)['metrics.switches.max'] == 'FAIL'
    assert verdicts(swapped)['metrics.idf1.min'] == 'FAIL'
    assert '2 under another id' in swapped['metrics.switches.max'].reason
    lost = run(miss=4)
    assert verdicts(lost)['metrics.mota.min'] == 'FAIL'
    assert verdicts(lost)['metrics.fragmentations.max'] == 'FAIL'
    reference = Tracking()
    for frame in range(FRAMES):
        ids = [one['own'] for one in tracked(frame, miss=4)]
        reference.add_frame(['ann', 'bob'], ids, np.array([
            [float(own == '1') for own in ids], [float(own == '2') for own in ids]]))
    wanted = reference.result()
    assert lost['metrics.mota.min'].measurement.value == pytest.approx(wanted.mota)
    assert lost['metrics.fragmentations.max'].measurement.value == wanted.fragmentations
    nameless = judged(panel(tmp_path, TRACKING), stream(
        PREDICTED, lambda frame: [{**one, 'own': ''} for one in walkers(frame)], range(FRAMES)),
        stream(TRUE, walkers, range(FRAMES), after=0))
    assert nameless['unmatched.max'].verdict.value == 'FAIL'
    assert 'has no id' in nameless['unmatched.max'].reason


@pytest.mark.parametrize('frames,found,true,said', [
    (3, tracked, walkers, 'found in 3 frames, worth 1 independent ones; 30 are needed'),
    (FRAMES, lambda frame: [], walkers, 'found in 0 frames'),
    (FRAMES, lambda frame: [], lambda frame: [], 'there was nothing to track'),
])
def test_what_was_not_tracked_has_no_switches_to_count(
    tmp_path: Path, frames: int, found: Any, true: Any, said: str
) -> None:
    block = 'task: tracking\nmetrics: {switches: 0, fragmentations: 0}'
    told = judged(panel(tmp_path, block), stream(PREDICTED, found, range(frames)),
                  stream(TRUE, true, range(frames), after=0))
    for metric in ('switches', 'fragmentations'):
        one = told[f'metrics.{metric}.max']
        assert (one.verdict.value, said in one.reason) == ('INCONCLUSIVE', True), one.reason


# Odometry and localisation


def way(frame: int) -> tuple[float, float, float]:
    angle = frame * 0.02
    return 5 * np.sin(angle), 5 - 5 * np.cos(angle), angle


def poses(topic: str, kind: str, rows: list[tuple[float, float, float]]) -> Batch:
    payloads = []
    for place, (x, y, yaw) in enumerate(rows):
        head = header(START + place * 100 * MS, 'odom')
        if kind == POSE:
            payloads.append(serialized(made(POSE, header=head, pose=pose(x, y, yaw=yaw))))
            continue
        zero = made('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
        payloads.append(serialized(made(
            ODOMETRY, header=head, child_frame_id='base_link',
            pose=made('geometry_msgs/msg/PoseWithCovariance', pose=pose(x, y, yaw=yaw),
                      covariance=np.zeros(36)),
            twist=made('geometry_msgs/msg/TwistWithCovariance', covariance=np.zeros(36),
                       twist=made('geometry_msgs/msg/Twist', linear=zero, angular=zero)))))
    return sent(topic, kind, payloads)


def estimated(scale: float = 1.0, noise: float = 0.002, jump: float = 0.0) -> list[Any]:
    """Odometry whose steps are too long, noisy, and once jump."""
    rng = np.random.default_rng(2)
    found, x, y = [], 0.0, 0.0
    for frame in range(1000):
        if frame:
            step = np.subtract(way(frame)[:2], way(frame - 1)[:2]) * scale
            x, y = x + step[0] + jump * (frame == 150), y + step[1]
        at = rng.normal(0, noise, 2)
        found.append((x + at[0], y + at[1], way(frame)[2] + rng.normal(0, noise)))
    return found


POSES = ('metrics: {ate: 0.1, ate_rotation: 3, rpe: 0.02, rpe_rotation: 1, drift: 5 %, '
         'drift_rotation: 2}\nalike: 0 ms')


def test_odometry(tmp_path: Path) -> None:
    true = poses(TRUE, POSE, [way(frame) for frame in range(1000)])

    def run(task: str = 'odometry', **faults: float) -> dict[str, Any]:
        return judged(panel(tmp_path, f'task: {task}\n{POSES}', kind=ODOMETRY),
                      poses(PREDICTED, ODOMETRY, estimated(**faults)), true, seconds=100.0)

    found = run()
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    reference = Trajectory('se3')
    reference.add_pair(*(Poses.of(np.array([
        [x, y, 0, 0, 0, np.sin(yaw / 2), np.cos(yaw / 2)] for x, y, yaw in rows]))
        for rows in (estimated(), [way(frame) for frame in range(1000)])))
    wanted = reference.result()
    values = {name.split('.')[1]: each.measurement.value for name, each in found.items()}
    assert wanted.ate and wanted.rpe and wanted.rpe_rotation
    assert values['ate'] == pytest.approx(wanted.ate.rmse)
    assert values['rpe'] == pytest.approx(wanted.rpe.rmse)
    assert values['rpe_rotation'] == pytest.approx(np.degrees(wanted.rpe_rotation.rmse))
    assert values['drift'] == pytest.approx(wanted.drift)
    assert verdicts(run(scale=1.1))['metrics.drift.max'] == 'FAIL'
    assert verdicts(run(noise=0.05))['metrics.rpe.max'] == 'FAIL'
    assert verdicts(run(jump=3.0))['metrics.ate.max'] == 'FAIL'
    # A jump is no drift, but whoever localises has to know where the robot is.
    assert verdicts(run('localisation', noise=0.05))['metrics.rpe.max'] == 'FAIL'


def test_a_robot_that_stands_proves_no_odometry(tmp_path: Path) -> None:
    block = ('task: odometry\nmetrics: {ate: 0.1, rpe: 0.1, rpe_rotation: 5 deg}\n'
             'alike: 0 ms')
    still = poses(TRUE, POSE, [(0.0, 0.0, 0.0)] * 300)
    rows = poses(PREDICTED, ODOMETRY, [(0.0, 0.0, 0.0)] * 300)
    found = judged(panel(tmp_path, block, kind=ODOMETRY), rows, still)
    for metric in ('ate', 'rpe'):
        one = found[f'metrics.{metric}.max']
        assert one.verdict.value == 'INCONCLUSIVE'
        assert 'no farther than 0 m, less than a section of 1 m' in one.reason
    one = found['metrics.rpe_rotation.max']
    assert one.verdict.value == 'INCONCLUSIVE' and 'and turned by 0 deg' in one.reason
    # Who only turns has proven that; who only drives straight, too.
    for motion in ([(0.0, 0.0, 0.02 * frame) for frame in range(300)],
                   [(0.02 * frame, 0.0, 0.0) for frame in range(300)]):
        found = judged(panel(tmp_path, block, kind=ODOMETRY),
                       poses(PREDICTED, ODOMETRY, motion), poses(TRUE, POSE, motion))
        assert found['metrics.rpe_rotation.max'].verdict.value == 'PASS', found
    # One that says that it moved is wrong all the same.
    rows = poses(PREDICTED, ODOMETRY, [way(frame) for frame in range(300)])
    found = judged(panel(tmp_path, block, kind=ODOMETRY), rows, still)
    assert found['metrics.ate.max'].verdict.value == 'FAIL'


def test_sim3_alignment_forgives_the_scale(tmp_path: Path) -> None:
    true = poses(TRUE, POSE, [way(frame) for frame in range(1000)])
    rows = poses(PREDICTED, POSE, estimated(scale=3.0))
    for alignment, verdict in (('se3', 'FAIL'), ('sim3', 'PASS')):
        found = judged(panel(tmp_path, f'task: odometry\nalignment: {alignment}\n{POSES}',
                             kind=POSE), rows, true, seconds=100.0)
        assert verdicts(found)['metrics.drift.max'] == verdict
        assert verdicts(found)['metrics.ate.max'] == verdict


def test_poses_are_interpolated(tmp_path: Path) -> None:
    rows = [way(frame) for frame in range(300)]
    sparse = poses(TRUE, POSE, rows).rows(np.arange(0, 300, 2))
    found = judged(panel(tmp_path, 'task: localisation\nmetrics: {ate: 0.01}\n'
                         'association: {interpolate: 250 ms}\nalike: 0 ms', kind=POSE),
                   poses(PREDICTED, ODOMETRY, rows), sparse)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    assert found['metrics.ate.max'].measurement.count == 299


# Images


def depths(frames: int = 200) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    return [rng.uniform(0.5, 8.0, (12, 16)).astype(np.float32) for _ in range(frames)]


DEPTH = ('task: depth\nmetrics: {abs_rel: 0.1, rmse: 0.4, delta_1: 95 %, coverage: 90 %, '
         'silog: 0.1, sq_rel: 0.1, log_rmse: 0.1}\n'
         'slices: {near: {where: {distance: {max: 2}}, abs_rel: 0.1}}\nalike: 0 ms')


def test_depth(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    true = images(TRUE, '32FC1', depths())

    def run(scale: float, holes: float = 0.0) -> dict[str, Any]:
        guess = []
        for one in depths():
            noisy = one * scale * rng.normal(1, 0.02, one.shape)
            noisy[rng.random(one.shape) < holes] = 0.0
            guess.append((noisy * 1000).astype(np.uint16))
        return judged(panel(tmp_path, DEPTH, kind=IMAGE), images(PREDICTED, '16UC1', guess), true)

    found = run(1.0)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    long = run(1.3)
    assert verdicts(long)['metrics.abs_rel.max'] == 'FAIL'
    assert verdicts(long)['slices.near.abs_rel.max'] == 'FAIL'
    assert verdicts(long)['metrics.silog.max'] == 'PASS'
    assert verdicts(run(1.0, holes=0.3))['metrics.coverage.min'] == 'FAIL'
    rng = np.random.default_rng(5)
    guess = [(one * rng.normal(1, 0.02, one.shape)).astype(np.float32) for one in depths()]
    reference = Depth()
    for one, truth in zip(guess, depths(), strict=True):
        reference.add_frame(one.astype(np.float64), truth.astype(np.float64))
    same = judged(panel(tmp_path, DEPTH, kind=IMAGE), images(PREDICTED, '32FC1', guess), true)
    wanted = reference.result()
    values = {name.split('.')[1]: each.measurement.value for name, each in same.items()}
    assert values['rmse'] == pytest.approx(wanted.rmse)
    assert values['silog'] == pytest.approx(wanted.scale_invariant)
    assert values['log_rmse'] == pytest.approx(wanted.log_rmse)


def test_a_depth_of_few_pixels_proves_nothing(tmp_path: Path) -> None:
    true = images(TRUE, '32FC1', depths())
    lone = []
    for one in depths():
        hidden = np.full_like(one, np.nan)
        hidden[0, 0] = one[0, 0]
        lone.append(hidden)
    block = 'task: depth\nmetrics: {abs_rel: 0.1, delta_1: 90 %}\nalike: 0 ms'
    found = judged(panel(tmp_path, block, kind=IMAGE), images(PREDICTED, '32FC1', lone), true)
    for one in (found['metrics.abs_rel.max'], found['metrics.delta_1.min']):
        assert one.verdict.value == 'INCONCLUSIVE'
        assert 'only 0.52 % of the pixels' in one.reason
    block = 'task: depth\nmetrics: {abs_rel: 0.1, coverage: 0.1 %}\nalike: 0 ms'
    found = judged(panel(tmp_path, block, kind=IMAGE), images(PREDICTED, '32FC1', lone), true)
    assert found['metrics.abs_rel.max'].verdict.value == 'PASS'


SEGMENTATION = ('task: segmentation\nclasses: {"0": floor, "7": crate}\nignore: [255]\n'
                'metrics: {mean_iou: 80 %, pixel_accuracy: 85 %, mean_dice: 80 %}\n'
                'slices: {crates: {where: {class: crate}, mean_iou: 80 %}}\nalike: 0 ms')


def test_segmentation(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    true = [rng.choice(np.array([0, 7, 255], np.uint8), (10, 10)) for _ in range(100)]

    def run(share: float, guess: int = 7) -> dict[str, Any]:
        wrong = [np.where(rng.random(one.shape) < share, guess, one).astype(np.uint8)
                 for one in true]
        return judged(panel(tmp_path, SEGMENTATION, kind=IMAGE),
                      images(PREDICTED, 'mono8', wrong), images(TRUE, '8UC1', true))

    found = run(0.05)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    bad = run(0.5)
    assert set(verdicts(bad).values()) == {'FAIL', 'PASS'}
    assert verdicts(bad)['slices.crates.mean_iou.min'] == 'FAIL'
    assert verdicts(run(0.5, 99))['metrics.pixel_accuracy.min'] == 'FAIL'
    true[3] = np.full((10, 10), 42, np.uint8)
    unknown = run(0.0)
    assert unknown['unmatched.max'].measurement.evidence[0].text.startswith(
        'frame 1700000000.300 cannot be evaluated')


# Classification


CLASSES = ('task: classification\nclasses: [crate, person, barrel]\n'
           'metrics: {accuracy: 80 %, f1: 80 %, precision: 80 %, recall: 80 %, top_5: 90 %}\n'
           'slices: {people: {where: {class: person}, accuracy: 80 %}}\nalike: 0 ms')


def test_classification(tmp_path: Path) -> None:
    names = ['crate', 'person', 'barrel']
    rng = np.random.default_rng(1)
    truth = [names[one] for one in rng.integers(0, 3, FRAMES)]

    def run(people: float) -> dict[str, Any]:
        rows = [
            [('barrel' if name == 'person' and rng.random() < people else name, 0.8),
             (names[0], 0.1)] for name in truth]
        return judged(panel(tmp_path, CLASSES, kind=CLASS), classes(PREDICTED, rows),
                      classes(TRUE, [[(name, 1.0)] for name in truth]))

    found = run(0.02)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    bad = run(0.7)
    assert verdicts(bad)['slices.people.accuracy.min'] == 'FAIL'
    assert 'person taken for barrel' in bad['slices.people.accuracy.min'].evidence[0].text
    assert verdicts(bad)['metrics.recall.min'] == 'FAIL'


def test_calibration_and_any_number_of_the_surest_classes(tmp_path: Path) -> None:
    names = ['crate', 'person', 'barrel', 'pallet']
    block = ('task: classification\nclasses: [crate, person, barrel, pallet]\n'
             'metrics: {top_2: 90 %, top_3: 90 %, ece: 15 %}\nalike: 0 ms')
    rng = np.random.default_rng(3)

    def run(sure: float) -> dict[str, Any]:
        """Right in 70 % of the frames, the true class third in all others."""
        true, rows = [], []
        for _ in range(FRAMES):
            order = rng.permutation(names).tolist()
            place = 0 if rng.random() < 0.7 else 2
            true.append([(order[place], 1.0)])
            rows.append([(name, sure / (1 + rank)) for rank, name in enumerate(order)])
        return judged(panel(tmp_path, block, kind=CLASS), classes(PREDICTED, rows),
                      classes(TRUE, true))

    found = run(0.7)
    assert verdicts(found)['metrics.ece.max'] == 'PASS'
    assert verdicts(found)['metrics.top_3.min'] == 'PASS'
    assert verdicts(found)['metrics.top_2.min'] == 'FAIL'
    assert verdicts(run(1.0))['metrics.ece.max'] == 'FAIL'
    percent = run(70.0)['metrics.ece.max']
    assert percent.verdict.value == 'INCONCLUSIVE'
    assert 'only scores from 0 to 1' in percent.reason


# Detection in space


def boxes_3d(topic: str, shift: float, frame: str = 'map') -> Batch:
    payloads = []
    for place in range(200):
        head = header(START + place * 100 * MS, frame)
        payloads.append(serialized(made(SPACE, header=head, detections=[
            made('vision_msgs/msg/Detection3D', header=head, id=name, results=[result(name, 0.9)],
                 bbox=made('vision_msgs/msg/BoundingBox3D', center=pose(at + shift, 1.0, 0.5, 0.3),
                           size=made('geometry_msgs/msg/Vector3', x=1.0, y=0.8, z=1.0)))
            for name, at in (('crate', 2.0), ('person', 8.0))])))
    return sent(topic, SPACE, payloads)


def test_detection_in_space(tmp_path: Path) -> None:
    block = ('task: detection_3d\nmetrics: {map: 80 %, map_50: 80 %, recall: 90 %}\n'
             'slices: {near: {where: {distance: {max: 4}}, recall: 90 %}}')

    def run(shift: float, frame: str = 'map') -> dict[str, Any]:
        return judged(panel(tmp_path, block, kind=SPACE), boxes_3d(PREDICTED, shift, frame),
                      boxes_3d(TRUE, 0.0))

    found = run(0.02)
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    far = verdicts(run(0.6))
    assert far['metrics.map_50.min'] == far['metrics.recall.min'] == 'FAIL'
    other = run(0.0, 'camera')
    assert 'the boxes are in the frame "camera"' in other['unmatched.max'].reason
    assert 'PASS' not in {other['metrics.map.min'].verdict.value}


@pytest.mark.parametrize('task', ['tracking', 'odometry', 'depth'])
def test_slices_of_the_scenario_and_pieces(tmp_path: Path, task: str) -> None:
    """Every task knows the slices, and does not care how its samples came."""
    light = '- {at: 10 s, for: 10 s, light: {scale: 0.2}, slice: dark}'
    told = journal((10, 'begun', 0), (10.5, 'done', 0), (20, 'undoing', 0), (20.5, 'undone', 0))
    dark = [10.5 < frame / 10 <= 20 for frame in range(FRAMES)]
    if task == 'tracking':
        metric, kind = 'mota', DETECTIONS
        batches = [stream(PREDICTED, lambda frame: walkers(frame)[dark[frame]:], range(FRAMES)),
                   stream(TRUE, walkers, range(FRAMES), after=0)]
    elif task == 'odometry':
        metric, kind = 'rpe', POSE
        rng = np.random.default_rng(1)
        rows = [way(frame) for frame in range(FRAMES)]
        noisy = [(x + (0.01 + 0.2 * dark[i]) * rng.normal(), y, yaw)
                 for i, (x, y, yaw) in enumerate(rows)]
        batches = [poses(PREDICTED, POSE, noisy), poses(TRUE, POSE, rows)]
    else:
        metric, kind = 'delta_1', IMAGE
        true = depths(FRAMES)
        guess = [one * np.float32(1.5 if dark[i] else 1.01) for i, one in enumerate(true)]
        batches = [images(PREDICTED, '32FC1', guess), images(TRUE, '32FC1', true)]
    limit = '0.05' if metric == 'rpe' else '90 %'
    block = (f'task: {task}\nalike: 0 ms\nslices: {{dark: {{{metric}: {limit}}}, nominal: '
             f'{{{metric}: {limit}}}}}\ndrop_from: {{nominal: {{{metric}: 20 %}}}}')
    whole = judged(panel(tmp_path, block, light, kind=kind), *batches, told)
    side = 'max' if metric == 'rpe' else 'min'
    assert verdicts(whole)[f'slices.nominal.{metric}.{side}'] == 'PASS'
    assert verdicts(whole)[f'slices.dark.{metric}.{side}'] == 'FAIL'
    assert verdicts(whole)[f'drop_from.nominal.{metric}.max'] == 'FAIL'
    parts = judged(panel(tmp_path, block, light, kind=kind), *batches, told, pieces=15)
    assert {n: (r.verdict, r.reason, r.measurement) for n, r in whole.items()} == {
        n: (r.verdict, r.reason, r.measurement) for n, r in parts.items()}


# Other types


def test_fields_of_any_type(tmp_path: Path) -> None:
    """Boxes, scores, labels and stamps found by paths, in a type of somebody's own."""
    text = ('builtin_interfaces/Time at\nThing[] things\n' + '=' * 80 +
            '\nMSG: my_msgs/Thing\nstring kind\nfloat32 sure\nfloat32[4] corners\n'
            'float32 left\nfloat32 top\nfloat32 right\nfloat32 bottom\nint32 track\n' + '=' * 80 +
            '\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n')
    kind = 'my_msgs/msg/Things'
    block = ('metrics: {map: 80 %, recall: 90 %}\nfields:\n  stamp: at\n'
             '  label: things[*].kind\n  score: things[*].sure\n  left: things[*].left\n'
             '  top: things[*].top\n  right: things[*].right\n  bottom: things[*].bottom')
    thing = STORE_OF_OTHERS.types['my_msgs/msg/Thing']
    moment = STORE_OF_OTHERS.types['builtin_interfaces/msg/Time']

    def of(frame: int, shift: float) -> bytes:
        stamp = START + frame * 100 * MS
        things = [
            thing(kind=one['name'], sure=one['score'], corners=np.zeros(4, np.float32),
                  left=one['x'] - one['size'] / 2 + shift, top=one['y'] - one['size'] / 2,
                  right=one['x'] + one['size'] / 2 + shift, bottom=one['y'] + one['size'] / 2,
                  track=1)
            for one in seen(frame)]
        message = STORE_OF_OTHERS.types[kind](
            at=moment(sec=stamp // 10**9, nanosec=stamp % 10**9), things=things)
        return bytes(STORE_OF_OTHERS.serialize_cdr(message, kind))

    for shift, verdict in ((0.0, 'PASS'), (25.0, 'FAIL')):
        one = panel(tmp_path, block)
        one._store.register(kind, text, 'ros2msg')
        found = judged(one, sent(PREDICTED, kind, [of(frame, shift) for frame in range(FRAMES)]),
                       stream(TRUE, scene, range(FRAMES), after=0))
        assert verdicts(found)['metrics.map.min'] == verdict, found['metrics.map.min'].reason
        assert verdicts(found)['metrics.recall.min'] == verdict


def test_fields_of_poses_and_classes(tmp_path: Path) -> None:
    rows = [way(frame) for frame in range(300)]
    fields = '{position: pose.pose.position, orientation: pose.pose.orientation}'
    found = judged(
        panel(tmp_path, f'task: localisation\nmetrics: {{ate: 0.01}}\nalike: 0 ms\n'
              f'fields: {fields}', kind=POSE),
        poses(PREDICTED, ODOMETRY, rows), poses(TRUE, POSE, rows))
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    moved = []
    for place, (x, y, yaw) in enumerate(rows):
        at = pose(x, y, yaw=yaw)
        moved.append(serialized(made('tf2_msgs/msg/TFMessage', transforms=[made(
            'geometry_msgs/msg/TransformStamped', header=header(START + place * 100 * MS, 'world'),
            child_frame_id='robot', transform=made(
                'geometry_msgs/msg/Transform', rotation=at.orientation,
                translation=made('geometry_msgs/msg/Vector3', x=x, y=y, z=0.0)))])))
    found = judged(
        panel(tmp_path, 'task: localisation\nmetrics: {ate: 0.01}\nalike: 0 ms\ntruth_fields:\n'
              '  stamp: transforms[0].header.stamp\n'
              '  position: transforms[0].transform.translation\n'
              '  orientation: transforms[0].transform.rotation', kind=POSE),
        poses(PREDICTED, ODOMETRY, rows), sent(TRUE, 'tf2_msgs/msg/TFMessage', moved))
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}
    words = [[('crate', 0.9), ('person', 0.1)], [('person', 0.8)]] * 100
    found = judged(
        panel(tmp_path, 'task: classification\nclasses: [crate, person]\nmetrics: {accuracy: '
              '90 %}\nalike: 0 ms\nfields: {label: "results[*].class_id", score: '
              '"results[*].score"}', kind=CLASS),
        classes(PREDICTED, words), classes(TRUE, [one[:1] for one in words]))
    assert set(verdicts(found).values()) == {'PASS'}, {n: r.reason for n, r in found.items()}


def test_boxes_in_space_by_the_distance_of_their_centres(tmp_path: Path) -> None:
    block = ('task: detection_3d\ncentre_distance: 1.5\n'
             'metrics: {ap: 80 %, map: 40 %, recall: 90 %}')

    def run(shift: float) -> dict[str, Any]:
        return judged(panel(tmp_path, block, kind=SPACE), boxes_3d(PREDICTED, shift),
                      boxes_3d(TRUE, 0.0))

    # No overlap at all, and near enough; of 0.5, 1, 2 and 4 m two are kept.
    near = run(1.2)
    assert set(verdicts(near).values()) == {'PASS'}, {n: r.reason for n, r in near.items()}
    assert near['metrics.map.min'].measurement.value == pytest.approx(0.5)
    far = run(2.5)
    assert verdicts(far)['metrics.recall.min'] == verdicts(far)['metrics.ap.min'] == 'FAIL'
    assert 'nearest to it is crate, 2.50 m away' in far['metrics.recall.min'].evidence[0].text
