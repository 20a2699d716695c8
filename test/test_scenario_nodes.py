"""In which process a node is, as its endpoints or a command line tell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from robot_qa.scenario.node_processes import pids_of_node

OURS = {0x1234: 'a', 0x5678: 'b', 0x9ABCD: 'c'}


@dataclass(frozen=True)
class Info:
    node_name: str
    node_namespace: str
    endpoint_gid: list[int]


class Graph:
    """Answers as an rclpy node does: who publishes what."""

    def __init__(self, *endpoints: tuple[str, str, str, bytes]) -> None:
        self._endpoints = endpoints

    def get_publisher_names_and_types_by_node(self, name: str, space: str) -> list[Any]:
        return [(topic, ['x']) for topic, *who, _ in self._endpoints if who == [name, space]]

    def get_publishers_info_by_topic(self, wanted: str) -> list[Info]:
        return [Info(name, space, list(gid))
                for topic, name, space, gid in self._endpoints if topic == wanted]


def gid(pid: int, vendor: bytes = b'\x01\x0f') -> bytes:
    return vendor + b'\x78\xfd' + (pid & 0xFFFF).to_bytes(2, 'little') + bytes(10)


@pytest.fixture
def named() -> Iterator[list[int]]:
    """Let a process run that is given a name on its command line, and one that is not."""
    words = [sys.executable, '-c', 'import sys; sys.stdin.read()']
    processes = [
        subprocess.Popen([*words, *more], stdin=subprocess.PIPE) for more in (
            ('--ros-args', '-r', '__node:=planner', '-r', '__ns:=/nav'),
            ('--ros-args', '-r', '__node:=planner'), ())
    ]
    yield [process.pid for process in processes]
    for process in processes:
        process.communicate()


def test_the_endpoints_of_fast_dds_tell() -> None:
    graph = Graph(('/rosout', 'planner', '/nav', gid(0x1234)),
                  ('/rosout', 'planner', '/', gid(0x5678)),
                  ('/rosout', 'far', '/', gid(0x4321)),
                  ('/odd', 'long', '/', gid(0x9ABCD)))
    assert pids_of_node(graph, '/nav/planner', OURS) == [0x1234]
    assert pids_of_node(graph, '/planner', OURS) == [0x5678]
    assert pids_of_node(graph, '/far', OURS) == []
    assert pids_of_node(graph, '/long', OURS) == [0x9ABCD]


def test_ids_that_agree_in_their_lower_half_are_not_told_apart() -> None:
    graph = Graph(('/rosout', 'planner', '/', gid(0x1234)))
    assert pids_of_node(graph, '/planner', {0x1234: 'a', 0x51234: 'b'}) == [0x1234, 0x51234]


def test_other_middleware_says_nothing_of_processes() -> None:
    graph = Graph(('/rosout', 'planner', '/', gid(0x1234, b'\x01\x10')))
    assert pids_of_node(graph, '/planner', OURS) == []


def test_then_the_command_line_tells(named: list[int]) -> None:
    other = b'\x01\x10'
    graph = Graph(('/rosout', 'planner', '/nav', gid(0x1234, other)))
    assert pids_of_node(graph, '/nav/planner', named) == [named[0]]
    assert pids_of_node(graph, '/planner', named) == [named[1]]
    assert pids_of_node(graph, '/nav/plan', named) == []
    assert pids_of_node(graph, '/planner', [os.getpid()]) == []
