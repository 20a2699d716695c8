"""Layouts of a warehouse, made up: racks with what is on them, pallets, barrels, people, clutter.

Everything is drawn from a generator, so a seed gives one layout. Lengths in m, angles in rad.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.world import Model, World
from robot_qa.geometry import Poses, product

HALL = (7.6, 5.6)
"""Half of the floor that things stand on, along x and y."""
SIZES = {
    'crate_small': (0.4, 0.4, 0.4), 'crate_large': (0.7, 0.7, 0.7),
    'cardboard_box': (0.5, 0.4, 0.35), 'cardboard_flat': (0.6, 0.4, 0.2),
    'tote': (0.6, 0.4, 0.3),
}
SHELVES = (0.15, 1.15, 2.15)
SHELF_LENGTH, SHELF_HEADROOM = 2.2, 0.85
PALLET_HEIGHT = 0.144
KEPT = ('warehouse_hall', 'patrol_robot')
Place = tuple[float, float, float]


def turned(at: Place, yaw: float, pitch: float = 0.0) -> Poses:
    """Return a pose at ``at`` that is pitched (nose down), then turned about z."""
    half, lean = yaw / 2, pitch / 2
    about_z = np.array([0.0, 0.0, np.sin(half), np.cos(half)])
    return Poses(np.array(at), product(about_z, np.array([0.0, np.sin(lean), 0.0, np.cos(lean)])))


@dataclass
class Floor:
    """What of the floor is taken, as discs."""

    discs: list[Place] = field(default_factory=list)
    """x, y and radius."""

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Tell whether a disc touches none of those taken."""
        return all((x - a) ** 2 + (y - b) ** 2 > (radius + c) ** 2 for a, b, c in self.discs)


def layout(base: World, generator: np.random.Generator) -> tuple[World, Floor]:
    """Return a world with the hall, lights and robot of ``base``, and where something stands."""
    made = _Layout(base, generator)
    for _ in range(generator.integers(2, 5)):
        made.row_of_racks()
    for _ in range(generator.integers(4, 9)):
        made.pallet()
    for _ in range(generator.integers(3, 7)):
        made.barrels()
    for _ in range(generator.integers(4, 9)):
        made.put_down(('person_standing', 'person_walking')[generator.integers(2)], 0.35)
    for _ in range(generator.integers(6, 14)):
        made.loose_crate()
    for _ in range(generator.integers(3, 7)):
        made.clutter()
    made.put_down('charging_dock', 0.6)
    kept = tuple(one for one in base.models if one.name in KEPT)
    lights = tuple(_varied(one, generator) for one in base.lights)
    ambient = _tinted(base.ambient, generator, 0.25)
    made_world = replace(base, models=kept + tuple(made.models), lights=lights, ambient=ambient)
    return made_world, made.floor


class _Layout:
    """A layout while it is made."""

    def __init__(self, base: World, generator: np.random.Generator) -> None:
        self.floor = Floor()
        self.models: list[Model] = []
        self._generator = generator
        # Any model of a kind will do: all of a kind are the same but for pose and name.
        self._kinds = {
            (one.uri or '').partition('://')[2]: one for one in base.models if one.uri}

    def add(self, kind: str, at: Place, yaw: float) -> None:
        """Add a model that does not move."""
        name = f'{kind}_{len(self.models)}'
        pose = turned(at, yaw)
        self.models.append(replace(self._kinds[kind], name=name, pose=pose, static=True))

    def spot(self, radius: float, tries: int = 40) -> tuple[float, float] | None:
        """Return where a disc fits, and take it; None if nowhere was found."""
        half = np.array(HALL) - radius
        for x, y in self._generator.uniform(-half, half, (tries, 2)).tolist():
            if self.floor.is_free(x, y, radius):
                self.floor.discs.append((x, y, radius))
                return x, y
        return None

    def yaw(self) -> float:
        """Return any direction."""
        return float(self._generator.uniform(-np.pi, np.pi))

    def put_down(self, kind: str, radius: float) -> None:
        """Stand a model somewhere, turned any way."""
        at = self.spot(radius)
        if at is not None:
            self.add(kind, (*at, 0.0), self.yaw())

    def crate(self, within: float) -> str:
        """Return a kind of crate that is at most so high."""
        kinds = [kind for kind, size in SIZES.items() if size[2] <= within]
        return kinds[self._generator.integers(len(kinds))]

    def row_of_racks(self) -> None:
        """Stand one to three racks side by side, along x or y, if they fit somewhere."""
        generator = self._generator
        count = int(generator.integers(1, 4))
        step = 2.4 + generator.uniform(0.02, 0.4)
        yaw = float(generator.integers(4) * np.pi / 2 + generator.normal(0.0, 0.02))
        along = np.array([np.cos(yaw), np.sin(yaw)])
        half = np.maximum(np.array(HALL) - np.abs(along) * step * count / 2 - 0.5, 0.1)
        for _ in range(20):
            middle = generator.uniform(-half, half)
            places = [middle + along * step * (number - (count - 1) / 2)
                      for number in range(count)]
            discs = [(*(place + along * offset).tolist(), 0.6) for place in places
                     for offset in (-0.85, 0.0, 0.85)]
            if all(self.floor.is_free(*disc) for disc in discs):
                self.floor.discs += discs
                for place in places:
                    self._rack(place[0], place[1], yaw)
                return

    def _rack(self, x: float, y: float, yaw: float) -> None:
        generator = self._generator
        self.add('rack', (x, y, 0.0), yaw)
        for shelf in SHELVES:
            along = -SHELF_LENGTH / 2 + generator.uniform(0.0, 0.4)
            while True:
                kind = self.crate(SHELF_HEADROOM)
                length = SIZES[kind][0]
                if along + length > SHELF_LENGTH / 2:
                    break
                if generator.random() < 0.75:
                    across, turn = generator.normal(0.0, 0.06), generator.normal(0.0, 0.06)
                    middle = along + length / 2
                    where = (x + middle * np.cos(yaw) - across * np.sin(yaw),
                             y + middle * np.sin(yaw) + across * np.cos(yaw))
                    self.stack(kind, (*where, shelf), yaw + turn, SHELF_HEADROOM, 0.25)
                along += length + generator.uniform(0.03, 0.5)

    def stack(self, kind: str, at: Place, yaw: float, headroom: float, chance: float) -> None:
        """Put a crate down and, by chance, another of its kind or a smaller one on top."""
        height = SIZES[kind][2]
        self.add(kind, at, yaw)
        left = headroom - height
        if self._generator.random() < chance and left > min(size[2] for size in SIZES.values()):
            again = SIZES[kind][2] <= left and self._generator.random() < 0.6
            upper = kind if again else self.crate(min(left, 0.4))
            turn = float(self._generator.normal(0.0, 0.1))
            self.stack(upper, (at[0], at[1], at[2] + height), yaw + turn, left, chance)

    def pallet(self) -> None:
        """Stand a pallet somewhere: empty, with crates in fours, or with any two."""
        generator = self._generator
        at = self.spot(0.8)
        if at is None:
            return
        yaw = self.yaw() if generator.random() < 0.4 else generator.integers(4) * np.pi / 2
        self.add('pallet', (*at, 0.0), float(yaw))
        load = generator.random()
        if load < 0.2:
            return
        fours = ('cardboard_box', 'tote', 'cardboard_flat')[generator.integers(3)]
        for along in (-0.3, 0.3):
            for across in (-0.2, 0.2) if load < 0.7 else (0.0,):
                kind = fours if load < 0.7 else self.crate(1.0)
                if kind == 'crate_large' and along > 0.0:
                    kind = 'crate_small'
                if generator.random() < 0.9:
                    where = (at[0] + along * np.cos(yaw) - across * np.sin(yaw),
                             at[1] + along * np.sin(yaw) + across * np.cos(yaw))
                    turn = generator.normal(0.0, 0.03 if load < 0.7 else 0.1)
                    self.stack(kind, (*where, PALLET_HEIGHT), float(yaw + turn), 1.2, 0.5)

    def barrels(self) -> None:
        """Stand one to three barrels together."""
        generator = self._generator
        at = self.spot(0.75)
        if at is None:
            return
        first, count = self.yaw(), generator.integers(1, 4)
        for number in range(count):
            angle = first + number * 2 * np.pi / 3
            self.add('barrel', (at[0] + 0.36 * np.cos(angle), at[1] + 0.36 * np.sin(angle), 0.0),
                     self.yaw())

    def loose_crate(self) -> None:
        """Stand a crate on the floor, by chance with another on top."""
        kind = self.crate(1.0)
        at = self.spot(0.5 if kind == 'crate_large' else 0.38)
        if at is not None:
            self.stack(kind, (*at, 0.0), self.yaw(), 1.2, 0.3)

    def clutter(self) -> None:
        """Stand something on the floor that is nothing to find: a plain post, drum or slab."""
        generator = self._generator
        at = self.spot(0.4)
        if at is None:
            return
        wide, high = generator.uniform(0.05, 0.25), generator.uniform(0.1, 1.6)
        shape: world.Geometry = world.Cylinder(wide, high)
        if generator.random() < 0.5:
            shape = world.Box((wide * 2, generator.uniform(0.05, 0.5), high))
        paint = (*generator.uniform(0.05, 0.95, 3).tolist(), 1.0)
        upright = turned((0.0, 0.0, high / 2), 0.0)
        seen = world.Visual('visual', upright, shape, world.Material(paint, paint))
        link = world.Link('link', turned((0.0, 0.0, 0.0), 0.0), None, visuals=(seen,))
        name = f'clutter_{len(self.models)}'
        self.models.append(Model(
            name, turned((*at, 0.0), self.yaw()), (link,), static=True, canonical_link='link'))


def _varied(light: world.Light, generator: np.random.Generator) -> world.Light:
    """Return a light of another strength and tint; the sun, from another side as well."""
    made = replace(light, diffuse=_tinted(light.diffuse, generator, 0.3))
    if light.kind == 'directional':
        angle, slope = generator.uniform(-np.pi, np.pi), generator.uniform(0.2, 0.8)
        return replace(made, direction=(slope * np.cos(angle), slope * np.sin(angle), -0.86))
    return made


def _tinted(color: world.Color, generator: np.random.Generator, spread: float) -> world.Color:
    scale = generator.uniform(1.0 - spread, 1.0 + spread) * generator.uniform(0.94, 1.06, 3)
    red, green, blue = np.clip(np.array(color[:3]) * scale, 0.0, 1.0).tolist()
    return red, green, blue, color[3]
