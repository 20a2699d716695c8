"""A tour: puts a robot from place to place in a simulator, so that its camera sees many scenes.

    python -m robot_qa.examples.tour --entity patrol_robot --lane "-6.4,-4.2 3.8,-4.2 3.8,3.45"

Twice a simulated second it stands somewhere else on the lane, looking anywhere along it or a
little aside. A robot that drives sees nearly the same in picture after picture, and it takes many
minutes before they say anything sure about a detector; these say so in one. It calls
``/set_entity_state`` of simulation_interfaces. The same seed gives the same places.
"""

from __future__ import annotations

import argparse
import math
import random
import sys

import rclpy
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from simulation_interfaces.srv import SetEntityState

from robot_qa.examples.patrol import waypoint
from robot_qa.stopping import stop_on_signals

ASIDE_M, TURN = 0.3, 0.9  # to each side of the lane, and rad to each side of its direction


class Tour(Node):  # type: ignore[misc]
    """Moves an entity whenever so much simulated time has gone by."""

    def __init__(
        self, entity: str, lane: list[tuple[float, float]], period_s: float, seed: int,
    ) -> None:
        super().__init__('tour')
        self._entity = entity
        self._lane = lane
        self._period_s = period_s
        self._draw = random.Random(seed)
        self._next_s: float | None = None
        self._client = self.create_client(SetEntityState, '/set_entity_state')
        self.create_subscription(Clock, '/clock', self._look, 10)

    def _look(self, tick: Clock) -> None:
        now = tick.clock.sec + tick.clock.nanosec * 1e-9
        if not self._client.service_is_ready() or now < (self._next_s or 0.0):
            return
        self._next_s = now + self._period_s
        self._client.call_async(self._request(*self.place()))

    def place(self) -> tuple[float, float, float]:
        """Draw x, y in metres and the yaw in radians, in the world."""
        legs = list(zip(self._lane, self._lane[1:], strict=False))
        lengths = [math.dist(*leg) for leg in legs]
        ((x1, y1), (x2, y2)), = self._draw.choices(legs, lengths)
        along, aside = self._draw.random(), self._draw.uniform(-ASIDE_M, ASIDE_M)
        direction = math.atan2(y2 - y1, x2 - x1)
        back = math.pi * self._draw.randrange(2)
        yaw = direction + back + self._draw.uniform(-TURN, TURN)
        return (x1 + along * (x2 - x1) - aside * math.sin(direction),
                y1 + along * (y2 - y1) + aside * math.cos(direction), yaw)

    def _request(self, x: float, y: float, yaw: float) -> SetEntityState.Request:
        request = SetEntityState.Request(entity=self._entity, set_pose=True, set_twist=True)
        pose = request.state.pose
        pose.position.x, pose.position.y = x, y
        pose.orientation.z, pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
        return request


def main(arguments: list[str] | None = None) -> int:
    """Go on until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--entity', required=True, help='what is put from place to place')
    parser.add_argument('--lane', required=True, metavar='"X,Y X,Y ..."',
                        help='in the world, in m')
    parser.add_argument('--period', type=float, default=0.5, help='simulated seconds (0.5)')
    parser.add_argument('--seed', type=int, default=0)
    given, _ = parser.parse_known_args(arguments)
    try:
        lane = [waypoint(text) for text in given.lane.split()]
    except ValueError:
        parser.error(f'"{given.lane}" is no lane such as "2,0 2,2"')
    if len(lane) < 2:
        parser.error('a lane has two points at least')
    stop = stop_on_signals()
    rclpy.init(args=arguments or sys.argv, signal_handler_options=rclpy.SignalHandlerOptions.NO)
    tour = Tour(given.entity, lane, given.period, given.seed)
    while not stop.is_set():
        rclpy.spin_once(tour, timeout_sec=0.1)
    tour.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
