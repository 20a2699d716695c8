"""In which process a ROS node is.

ROS does not tell. Fast DDS writes the lower half of the process id into the prefix of the GUIDs of
all endpoints (GuidUtils.hpp of Fast DDS: bytes 4 and 5, little-endian, behind vendor 0x010F and
the host's id). Where another middleware runs, the command line says it, if the node was given its
name there, as launch files do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

FAST_DDS = b'\x01\x0f'
# Topics that nearly every node publishes.
USUAL_TOPICS = ('/rosout', '/parameter_events')


def pids_of_node(node: Any, name: str, ours: Collection[int]) -> list[int]:
    """Return those of the processes ``ours`` in which the node with this full name may be.

    ``node`` is an rclpy node on the same graph. Several only if their ids agree in 16 bits, or
    nodes of the same name are in each of them.
    """
    space, _, short = name.rpartition('/')
    found = _by_guid(_guids(node, short, space or '/'), ours)
    return sorted(found or {pid for pid in ours if _is_given(_words(pid), short, space or '/')})


def _guids(node: Any, short: str, space: str) -> Iterable[bytes]:
    """Yield the GUIDs of endpoints of a node."""
    own = [topic for topic, _ in node.get_publisher_names_and_types_by_node(short, space)]
    for topic in dict.fromkeys([*(one for one in USUAL_TOPICS if one in own), *own]):
        for info in node.get_publishers_info_by_topic(topic):
            if (info.node_name, info.node_namespace) == (short, space):
                yield bytes(info.endpoint_gid)


def _by_guid(guids: Iterable[bytes], ours: Collection[int]) -> set[int]:
    halves = {int.from_bytes(guid[4:6], 'little') for guid in guids if guid[:2] == FAST_DDS}
    return {pid for pid in ours if pid & 0xFFFF in halves}


def _is_given(words: list[str], short: str, space: str) -> bool:
    """Tell whether a command line gives a node this name, in this namespace."""
    if f'__node:={short}' not in words:
        return False
    spaces = [word.removeprefix('__ns:=') for word in words if word.startswith('__ns:=')]
    return space in (spaces or ['/'])


def _words(pid: int) -> list[str]:
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().decode(errors='replace').split('\0')
    except OSError:
        return []
