"""Calls as service introspection records them, on ``<service>/_service_event``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from robot_qa.errors import MessageError
from robot_qa.probes.batch import Batch, Payloads
from robot_qa.timebase import NS_PER_S

# service_msgs/msg/ServiceEventInfo, with which every event starts: the offsets of event_type,
# stamp.sec, stamp.nanosec, client_gid[16] and sequence_number behind the encapsulation header.
_TYPE, _SEC, _NANOSEC, _GID, _SEQUENCE, _LEAST = 4, 8, 12, 16, 36, 44
_REQUEST_SENT, _REQUEST_RECEIVED, _RESPONSE_SENT, _RESPONSE_RECEIVED = range(4)
# What starts and ends a call on one side: the client's clock or the server's.
_SIDES = ((_REQUEST_SENT, _RESPONSE_RECEIVED), (_REQUEST_RECEIVED, _RESPONSE_SENT))
_Key = tuple[bytes, int]


def event_topic(service: str) -> str:
    """Return the topic of a service's events."""
    return f'{service}/_service_event'


class EventCalls:
    """Pairs requests with responses by client and sequence number.

    The client's times are taken where it has published events: up to when it took the response.
    Else those of the server, from when it took the request, without the way there and back. The
    two are not mixed, as their clocks may differ.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout = timeout_ns
        self._stamps: dict[_Key, dict[int, int]] = {}

    def update(self, batch: Batch) -> None:
        """Take the events of a batch; MessageError where one is too short to be an event."""
        payloads = batch.payloads
        if len(batch) and int(payloads.lengths.min()) < _LEAST:
            raise MessageError(f'{batch.topic} holds a message that is no service event')
        seconds = payloads.gather(_SEC, '<i4').astype(np.int64)
        stamps = seconds * NS_PER_S + payloads.gather(_NANOSEC, '<u4').astype(np.int64)
        kinds, gids = payloads.gather(_TYPE, 'u1'), _gids(payloads)
        numbers = payloads.gather(_SEQUENCE, '<i8')
        for kind, stamp, gid, number in zip(
            kinds.tolist(), stamps.tolist(), gids, numbers.tolist(), strict=True
        ):
            self._stamps.setdefault((gid, number), {})[kind] = stamp

    def over(self, end_ns: int) -> Iterator[tuple[int, int, str | None]]:
        """Yield and forget the calls that are over: when sent, when over, and what went wrong."""
        for key, stamps in list(self._stamps.items()):
            side = next((side for side in _SIDES if side[0] in stamps), None)
            if side is None:
                continue
            sent, ended = stamps[side[0]], stamps.get(side[1])
            if ended is None and end_ns - sent <= self._timeout:
                continue
            del self._stamps[key]
            if ended is None:
                yield sent, sent + self._timeout + 1, 'timeout'
            else:
                yield sent, ended, 'timeout' if ended - sent > self._timeout else None


def _gids(payloads: Payloads) -> list[bytes]:
    return [bytes(payload[_GID:_GID + 16]) for payload in payloads]
