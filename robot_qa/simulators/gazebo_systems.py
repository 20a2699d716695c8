"""What a Gazebo world needs for which action, and what no Gazebo world can do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ADD = 'entity/system/add'
# By service below /world/NAME/: the features that need it, and the system that serves it.
SERVICES = {
    'create/blocking': (('spawn',), 'gz-sim-user-commands-system'),
    'remove/blocking': (('remove',), 'gz-sim-user-commands-system'),
    'set_pose/blocking': (('move',), 'gz-sim-user-commands-system'),
    'light_config/blocking': (('light',), 'gz-sim-user-commands-system'),
    'scene/info': (('spawn', 'remove', 'light'), 'gz-sim-scene-broadcaster-system'),
    'state': (('spawn', 'remove', 'move', 'push', 'reset'), 'gz-sim-scene-broadcaster-system'),
    'wind_info': (('wind',), 'gz-sim-wind-effects-system, which the world has to load itself'),
    'control': (('pause', 'step', 'reset'), 'the server itself'),
}
NEVER = {
    'friction': 'no service of Gazebo changes the friction of surfaces while a world runs',
    'gravity': 'Gazebo reads the gravity of a world only when it loads it',
}


@dataclass(frozen=True)
class System:
    """A system of a world, by the topic below /world/NAME/ to which it listens."""

    plugin: str
    name: str
    topic: str
    kind: str


# It can be loaded into a world that runs.
WRENCH = System('gz-sim-apply-link-wrench-system', 'gz::sim::systems::ApplyLinkWrench',
                'wrench/persistent', 'EntityWrench')
# This one cannot: it knows only links that came into the world after it.
WIND = System('gz-sim-wind-effects-system', 'gz::sim::systems::WindEffects', 'wind', 'Wind')


def lacking(
    services: Collection[str], *, has_pushes: bool, has_lights: bool,
) -> dict[str, str]:
    """Return what a world lacks, and why, by feature.

    ``services`` are those below /world/NAME/; ``has_pushes`` tells whether the system for pushes
    is there or can be loaded.
    """
    found = dict(NEVER)
    for service, (features, server) in SERVICES.items():
        if service not in services:
            for feature in features:
                found.setdefault(feature, f'nobody serves {service}; in Gazebo it is {server}')
    if not has_pushes:
        found.setdefault('push', f'the world has no {WRENCH.plugin}, and the server has no such '
                         'library to load')
    if not has_lights:
        found.setdefault('light', 'the world has no lights')
    return found
