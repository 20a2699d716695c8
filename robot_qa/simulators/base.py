"""What a scenario asks of a simulator, and how every adapter answers.

Nothing here waits: an action is begun by ``Simulator.do`` and looked after by ``Pending.poll``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, TypeAlias

from robot_qa.errors import RobotQaError, SetupError, did_you_mean

GROUP = 'robot_qa.simulators'
FEATURES = (
    'spawn', 'remove', 'move', 'push', 'light', 'wind', 'friction', 'gravity', 'pause', 'step',
    'reset',
)
Vector: TypeAlias = tuple[float, float, float]
ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Pose:
    """A place in metres and a rotation as a unit quaternion x, y, z, w."""

    xyz: Vector = ZERO
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Spawn:
    """Put a model into the world; ``source`` is an SDF text, a URI, or a path."""

    feature: ClassVar[str] = 'spawn'
    name: str
    source: str
    pose: Pose = Pose()
    frame: str = ''
    """The entity that the pose is relative to; empty: the world."""


@dataclass(frozen=True)
class Remove:
    """Take an entity out of the world."""

    feature: ClassVar[str] = 'remove'
    name: str


@dataclass(frozen=True)
class Move:
    """Put an entity somewhere else at once; its velocity stays."""

    feature: ClassVar[str] = 'move'
    name: str
    pose: Pose
    frame: str = ''
    """The entity that the pose is relative to; empty: the world."""


@dataclass(frozen=True)
class Push:
    """Push a link at its centre of mass, along the axes of the world, in N and Nm.

    A link has one push at a time: the next one replaces it, and one of zeros ends it.
    """

    feature: ClassVar[str] = 'push'
    name: str
    link: str = ''
    """Empty: the canonical link."""
    force: Vector = ZERO
    torque: Vector = ZERO
    duration_ns: int | None = None
    """Simulated time; None: until something ends it."""


@dataclass(frozen=True)
class Light:
    """Scale the brightness of all lights; 1 is the world's own."""

    feature: ClassVar[str] = 'light'
    scale: float


@dataclass(frozen=True)
class Wind:
    """Set the velocity of the air, in m/s in the world."""

    feature: ClassVar[str] = 'wind'
    velocity: Vector


@dataclass(frozen=True)
class Friction:
    """Scale the friction of all surfaces; 1 is the world's own."""

    feature: ClassVar[str] = 'friction'
    scale: float


@dataclass(frozen=True)
class Gravity:
    """Set the gravity, in m/s^2 in the world."""

    feature: ClassVar[str] = 'gravity'
    xyz: Vector


@dataclass(frozen=True)
class Pause:
    """Let simulated time stand still."""

    feature: ClassVar[str] = 'pause'


@dataclass(frozen=True)
class Play:
    """Let simulated time go on."""

    feature: ClassVar[str] = 'pause'


@dataclass(frozen=True)
class Step:
    """Do physics steps of a paused simulation."""

    feature: ClassVar[str] = 'step'
    count: int = 1


@dataclass(frozen=True)
class Reset:
    """Take the simulation back to its start."""

    feature: ClassVar[str] = 'reset'


Action: TypeAlias = (
    Spawn | Remove | Move | Push | Light | Wind | Friction | Gravity | Pause | Play | Step | Reset
)


@dataclass(frozen=True)
class SimulatorFeatures:
    """Which of ``FEATURES`` a simulator has: those that are not lacking."""

    lacking: Mapping[str, str]
    """Why it lacks what it lacks, by feature."""

    @classmethod
    def none(cls, reason: str) -> SimulatorFeatures:
        """Lack everything for one reason."""
        return cls(dict.fromkeys(FEATURES, reason))

    @property
    def available(self) -> frozenset[str]:
        """The features that it has."""
        return frozenset(FEATURES) - self.lacking.keys()

    def lack(self, feature: str) -> str | None:
        """Return why there is no such feature, naming it; None if there is."""
        reason = self.lacking.get(feature)
        return None if reason is None else f'{feature}: {reason}'


@dataclass(frozen=True)
class Outcome:
    """How an action ended."""

    ok: bool
    detail: str = ''
    """The simulator's own answer where it refused, and what else is worth knowing."""
    undo: Action | None = None
    """What takes it back; None: nothing changed, or nothing can take it back.

    An action that was sent and never answered has one too: it may have been carried out.
    """


class ActionError(RobotQaError):
    """An action did not succeed; ``undo`` is for one that may have been carried out."""

    def __init__(self, detail: str, undo: Action | None = None) -> None:
        super().__init__(detail)
        self.undo = undo


class Pending:
    """An action under way, written as a generator that yields wherever it has to wait."""

    def __init__(self, work: Generator[None, None, Outcome] | Outcome) -> None:
        """Begin; ``ActionError`` in the work becomes its outcome."""
        self._outcome = work if isinstance(work, Outcome) else None
        self._work = None if isinstance(work, Outcome) else work
        self.poll()

    def poll(self) -> Outcome | None:
        """Go on as far as is possible without waiting; return the outcome once there is one."""
        if self._work is not None:
            try:
                next(self._work)
            except StopIteration as end:
                self._work, self._outcome = None, end.value
            except ActionError as failed:
                self._work, self._outcome = None, Outcome(False, str(failed), failed.undo)
        return self._outcome


class Simulator(Protocol):
    """What carries out the actions of a scenario.

    One action after the other: an undo restores what was there when its action began.
    """

    @property
    def features(self) -> SimulatorFeatures:
        """What it can do; nothing before it is connected."""

    def connect(self) -> Pending:
        """Find the simulator and learn its features."""

    def do(self, action: Action) -> Pending:
        """Begin an action; one whose feature is lacking is refused, naming the feature."""

    def close(self) -> None:
        """Leave the simulator as it is."""


def refusal(features: SimulatorFeatures, action: Action) -> Pending | None:
    """Return the refusal of an action whose feature is lacking; None if it is not."""
    lack = features.lack(action.feature)
    return None if lack is None else Pending(Outcome(False, lack))


def make_simulator(backend: str, node: Any) -> Simulator:
    """Return the adapter that the entry points know as ``backend``.

    ``node`` is an rclpy node that no executor spins; an adapter without ROS does not look at it.
    Raises ``SetupError`` for an unknown name.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if backend not in found:
        raise SetupError(f'there is no simulator "{backend}"{did_you_mean(backend, found)}')
    simulator: Simulator = found[backend].load()(node)
    return simulator
