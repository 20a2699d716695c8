"""Real serialized vision messages, and robots that see well or badly, for tests of accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import get_types_from_msg

from robot_qa.messages.typestore import TypeStore
from robot_qa.panel import Panel, clock_first
from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import Journal
from robot_qa.spec.loader import load_spec
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_played import marks_of
from samples import MS, START, STORE, TYPES, S, batch, header, observed, serialized, split

FOLDER = Path(__file__).parent.parent / 'interfaces' / 'vision_msgs' / 'msg'
DETECTIONS = 'vision_msgs/msg/Detection2DArray'
PREDICTED, TRUE = '/detections', '/ground_truth/detections'
CLASSES = ('crate', 'person', 'pallet')


def texts() -> dict[str, str]:
    return {f'vision_msgs/msg/{path.stem}': path.read_text() for path in FOLDER.glob('*.msg')}


for _name, _text in texts().items():
    if _name not in TYPES:
        STORE.register(get_types_from_msg(_text, _name))


def vision_store(kind: str = DETECTIONS) -> TypeStore:
    """As a recording's: with the definitions of vision_msgs, and no workspace."""
    store = TypeStore(workspace=False)
    every = texts()
    parts = [every[kind]]
    parts += [f'MSG: {name.replace("/msg/", "/")}\n{text}' for name, text in every.items()
              if name != kind]
    store.register(kind, ('=' * 80 + '\n').join(parts), 'ros2msg')
    return store


def made(kind: str, **members: Any) -> Any:
    return TYPES[kind](**members)


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Any:
    return made(
        'geometry_msgs/msg/Pose', position=made('geometry_msgs/msg/Point', x=x, y=y, z=z),
        orientation=made('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=np.sin(yaw / 2),
                         w=np.cos(yaw / 2)))


def result(name: str, score: float, where: Any = None) -> Any:
    return made(
        'vision_msgs/msg/ObjectHypothesisWithPose',
        hypothesis=made('vision_msgs/msg/ObjectHypothesis', class_id=name, score=float(score)),
        pose=made('geometry_msgs/msg/PoseWithCovariance', pose=where or pose(),
                  covariance=np.zeros(36)))


def box(
    name: str, x: float, y: float, size: float = 30.0, *, score: float = 1.0, own: str = '',
    distance: float = 0.0, **seen: float,
) -> dict[str, Any]:
    """One object, its box's centre in px; ``visibility`` and ``truncation`` as in the truth."""
    return {'name': name, 'x': x, 'y': y, 'size': size, 'score': score, 'own': own,
            'distance': distance, 'seen': seen}


def detections(stamp: int, boxes: Iterable[dict[str, Any]]) -> bytes:
    head = header(stamp, 'camera')
    items = []
    for one in boxes:
        centre = made('vision_msgs/msg/Pose2D', theta=0.0, position=made(
            'vision_msgs/msg/Point2D', x=float(one['x']), y=float(one['y'])))
        items.append(made(
            'vision_msgs/msg/Detection2D', header=head, id=one['own'],
            results=[result(one['name'], one['score'], pose(z=one['distance'])),
                     *(result(key, value) for key, value in one['seen'].items())],
            bbox=made('vision_msgs/msg/BoundingBox2D', center=centre, size_x=float(one['size']),
                      size_y=float(one['size']))))
    return serialized(made(DETECTIONS, header=head, detections=items))


def scene(frame: int, seed: int = 7) -> list[dict[str, Any]]:
    """What is truly in a frame: four objects that nowhere overlap."""
    rng = np.random.default_rng((seed, frame))
    return [
        box(CLASSES[place % len(CLASSES)], 40 + 70 * place + rng.uniform(-10, 10),
            60 + rng.uniform(-20, 20), rng.uniform(20, 50), own=f'model_{place}',
            visibility=float(rng.uniform(0.2, 1.0)), truncation=0.0)
        for place in range(4)
    ]


def seen(
    frame: int, *, miss: float = 0.0, shift: float = 0.0, seed: int = 3,
    lacking: tuple[str, ...] = (), false: float = 0.0,
) -> list[dict[str, Any]]:
    """What a detector says of `scene`: some missed, all shifted, some where nothing is."""
    rng = np.random.default_rng((seed, frame))
    found = []
    for one in scene(frame):
        if one['name'] in lacking:
            continue
        lost = rng.random() < miss
        score = 0.12 if lost else rng.uniform(0.6, 1.0)
        found.append({**one, 'score': score, 'x': one['x'] + shift + rng.uniform(-1, 1),
                      'seen': {}, 'own': ''})
    if rng.random() < false:
        found.append(box('person', 280, 200, score=rng.uniform(0.5, 0.9)))
    return found


IMAGE, CLASS = 'sensor_msgs/msg/Image', 'vision_msgs/msg/Classification'
Boxes = Callable[[int], list[dict[str, Any]]]


def stream(
    topic: str, boxes: Boxes, frames: Iterable[int], *, late: int = 0, after: int = 20 * MS,
    period: int = 100 * MS,
) -> Batch:
    """Frames every ``period``, stamped with the picture's time plus ``late`` ns."""
    chosen = list(frames)
    sent = [one * period + after for one in chosen]
    payloads = [detections(START + one * period + late, boxes(one)) for one in chosen]
    return batch(sent, payloads, topic, DETECTIONS)


LIGHTS = marks_of([Step.model_validate(
    {'at': '10 s', 'for': '10 s', 'light': {'scale': 0.2}})])


def journal(*marks: tuple[float, str, int], simulated: bool = False) -> Batch:
    """(seconds, event, step)... of a scenario whose one step dims the light to 0.2."""
    found = Journal('scenario')
    for at, event, step in marks:
        entry: dict[str, Any] = {'event': event, **LIGHTS[step], 'occurrence': 0}
        if simulated:
            entry['simulated_ns'] = round(at * S)
        found.write(START + round(at * S), entry)
    return found.drain()[0]


def panel(folder: Path, block: str, scenario: str = '', more: str = '',
          kind: str = DETECTIONS) -> Panel:
    path = folder / 'x.qa.yaml'
    path.write_text(
        f'robot_qa: 1\nname: x\nduration: 60 s\n{more}perception:\n  detector:\n'
        f'    predictions: {PREDICTED}\n    truth: {TRUE}\n'
        + ''.join(f'    {line}\n' for line in block.splitlines())
        + (f'scenario:\n{scenario}\n' if scenario else ''))
    return Panel(load_spec(path), vision_store(kind) if kind.startswith('vision') else
                 TypeStore(workspace=False))


def judged(
    one: Panel, *batches: Batch, seconds: float = 60.0, pieces: int = 1,
    notes: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """Feed batches, in so many pieces by time, and return the results by short name."""
    for part in range(pieces):
        now = []
        for whole in batches:
            borders = [len(whole) * part // pieces, len(whole) * (part + 1) // pieces]
            now += split(whole.rows(np.arange(*borders)), [])
        one.update(clock_first(now))
        if part % 7 == 3:
            one.results(observed(seconds * part / pieces), final=False)
    found = one.results(observed(seconds, notes=notes or {}), final=True)
    return {each.name.removeprefix('perception.detector.'): each for each in found}


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {name: each.verdict.value for name, each in found.items()}


def sent(topic: str, kind: str, payloads: list[bytes], late: int = 0) -> Batch:
    return batch([one * 100 * MS + late for one in range(len(payloads))], payloads, topic, kind)


def images(topic: str, encoding: str, pixels: list[np.ndarray[Any, Any]]) -> Batch:
    return sent(topic, IMAGE, [
        serialized(made(
            IMAGE, header=header(START + place * 100 * MS, 'camera'), height=one.shape[0],
            width=one.shape[1], encoding=encoding, is_bigendian=0,
            step=one.shape[1] * one.itemsize, data=one.view(np.uint8).reshape(-1)))
        for place, one in enumerate(pixels)])


def classes(topic: str, rows: list[list[tuple[str, float]]]) -> Batch:
    return sent(topic, CLASS, [
        serialized(made(CLASS, header=header(START + place * 100 * MS), results=[
            made('vision_msgs/msg/ObjectHypothesis', class_id=name, score=score)
            for name, score in row]))
        for place, row in enumerate(rows)])
