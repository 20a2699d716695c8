"""Calls services of the running graph and notes what came of it.

No executor: a request is sent, its response waits in the middleware's queue until somebody looks.
A call took from just before the request was sent to when the middleware received the response,
however late Python came round to either.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.serialization import serialize_message

from robot_qa.errors import Problem, SpecError, UnknownTypeError
from robot_qa.messages.literals import fill, findings
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.batch import Batch, Payloads
from robot_qa.probes.journal import PREFIX, Journal
from robot_qa.spec.marks import KeyPath, Marked
from robot_qa.spec.services import Service
from robot_qa.timebase import NS_PER_S

SEARCH_PERIOD_S = 1.0
# We may know a server before it knows us; what it answers then is lost, and not its fault.
SETTLE_S = 0.5


@dataclass(frozen=True)
class Answer:
    """A response: the number of its request and when the middleware received it, system clock."""

    sequence: int
    received_ns: int
    response: Any


class Line:
    """A service client whose requests and responses pass without an executor."""

    def __init__(self, node: Node, kind: Any, name: str) -> None:
        self._node = node
        self._kind = kind
        self._client = node.create_client(kind, name)

    def ready(self) -> bool:
        """Tell whether there is a server, of the same type."""
        return bool(self._client.service_is_ready())

    def send(self, request: Any) -> tuple[int, int]:
        """Send a request; return its number and the time just before, system clock."""
        sent = time.time_ns()
        return int(self._client.handle.send_request(request)), sent

    def take(self) -> Answer | None:
        """Return the next response, or None."""
        info, response = self._client.handle.take_response(self._kind.Response)
        if info is None:
            return None
        # A middleware that does not know the time leaves zero.
        received = int(info.received_timestamp) or time.time_ns()
        return Answer(int(info.request_id.sequence_number), received, response)

    def close(self) -> None:
        """Leave the service."""
        self._node.destroy_client(self._client)


class Presence:
    """Whether a service has a server, looked after and noted whenever it changes."""

    def __init__(self, node: Node, line: Line, service: tuple[str, str], journal: Journal) -> None:
        self._node = node
        self._line = line
        self._service, self._type = service
        self._journal = journal
        self._next_search = 0.0
        self._since = 0.0
        self._others = ''
        self.there = False
        self.ever = False

    def look(self, now: float) -> None:
        """Look; ``now`` is monotonic, in seconds."""
        there = self._line.ready()
        if there != self.there:
            self.there, self._since = there, now
            self._note('available' if there else 'gone')
        if there:
            self.ever = True
        elif now >= self._next_search:
            self._next_search = now + SEARCH_PERIOD_S
            self._note_other_types()

    def settled(self, now: float) -> bool:
        """Tell whether there is a server for so long that it knows us as well."""
        return self.there and now - self._since >= SETTLE_S

    def begin(self) -> None:
        """Note what is known already as the observation starts."""
        self.ever = self.there
        if self.there:
            self._note('available')
        elif self._others:
            self._note_others()

    def _note_other_types(self) -> None:
        # What is found includes clients, and one of them is ours.
        found = dict(self._node.get_service_names_and_types()).get(self._service, [])
        others = ', '.join(name for name in found if name != self._type)
        if others and others != self._others:
            self._others = others
            self._note_others()

    def _note_others(self) -> None:
        text = f'{self._service} is there as {self._others}, not as {self._type}'
        self._note('remark', text=text)

    def _note(self, event: str, **more: str) -> None:
        self._journal.write(time.time_ns(), {'event': event, **more})


class Outbox:
    """Serialized responses or results on their way to a batch."""

    def __init__(self, topic: str, type_name: str) -> None:
        self._topic = topic
        self._type = type_name
        self._rows: list[tuple[int, int, bytes]] = []

    def add(self, sent_ns: int, received_ns: int, message: Any) -> None:
        """Keep a message with the times of its request and of its arrival."""
        self._rows.append((sent_ns, received_ns, bytes(serialize_message(message))))

    def drain(self) -> list[Batch]:
        """Return what came since the last call as one batch, or nothing."""
        if not self._rows:
            return []
        sent, received, payloads = zip(*self._rows, strict=True)
        self._rows = []
        return [Batch(
            self._topic, self._type, np.array(sent, np.int64), np.array(received, np.int64), None,
            np.zeros(len(sent), np.int64), Payloads.of(payloads),
        )]


class ServiceCaller:
    """Looks for the services of a spec, and calls those that have a period.

    Notes go to the journals ``calls/<service>``, responses to ``robot_qa/responses/<service>``.
    SpecError: every field of a request that its type does not have, or that does not fit.
    """

    def __init__(
        self, node: Node, services: dict[str, Service], store: TypeStore, marks: Marked
    ) -> None:
        problems = [
            problem for name, service in services.items()
            for problem in written_problems(
                store, f'{service.type}_Request', service.request,
                ('services', name, 'request'), marks,
            )
        ]
        if problems:
            raise SpecError(problems)
        self._calls = [_Calls(node, name, one, store) for name, one in services.items()]

    def begin(self) -> None:
        """Start the observation; from now on calls are made."""
        for calls in self._calls:
            calls.begin(time.monotonic())

    def missing(self) -> list[str]:
        """Return nothing: whether there is a server is for the checks to judge."""
        return []

    def drain(self) -> list[Batch]:
        """Take responses, make the calls that are due, return what there is to tell."""
        now = time.monotonic()
        return [batch for calls in self._calls for batch in calls.drain(now)]

    def close(self) -> None:
        """Leave the services; a call under way is not waited for."""
        for calls in self._calls:
            calls.close()


@dataclass(frozen=True)
class _Flight:
    sequence: int
    sent_ns: int


class _Calls:
    """One service: calls on a fixed schedule, one at a time."""

    def __init__(self, node: Node, name: str, service: Service, store: TypeStore) -> None:
        self._timeout = service.timeout
        self._period = None if service.every is None else service.every / NS_PER_S
        self._journal = Journal(f'calls{name}')
        self._outbox = Outbox(f'{PREFIX}responses{name}', f'{service.type}_Response')
        self._due: float | None = None
        self._flight: _Flight | None = None
        self._line: Line | None = None
        self._lack = ''
        try:
            kind = interface_class(service.type)
            request = f'{service.type}_Request'
            self._request = fill(store, request, kind.Request(), service.request)
        except (ImportError, AttributeError):
            self._lack = not_installed(service.type)
            return
        except UnknownTypeError as error:
            self._lack = str(error)
            return
        self._line = Line(node, kind, name)
        self._presence = Presence(node, self._line, (name, service.type), self._journal)

    def begin(self, now: float) -> None:
        self._due = now
        self._journal.drain()
        self._journal.write(time.time_ns(), {'event': 'begin'})
        if self._line is not None:
            self._presence.begin()
        else:
            self._journal.write(time.time_ns(), {'event': 'remark', 'text': self._lack})

    def drain(self, now: float) -> list[Batch]:
        if self._line is not None:
            self._presence.look(now)
        if self._due is None:
            return []
        if self._line is not None:
            self._take(self._line)
            self._call(self._line, now)
        return [*self._journal.drain(), *self._outbox.drain()]

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _take(self, line: Line) -> None:
        if self._flight is None:
            return
        # Read before the queue is: what it does not hold then has not come by that time.
        now_ns = time.time_ns()
        while self._flight is not None and (answer := line.take()) is not None:
            if answer.sequence == self._flight.sequence:
                self._answered(self._flight, answer)
                self._flight = None
        if self._flight is not None and now_ns - self._flight.sent_ns > self._timeout:
            self._note(self._flight.sent_ns, None, now_ns, 'timeout')
            self._flight = None

    def _answered(self, flight: _Flight, answer: Answer) -> None:
        late = answer.received_ns - flight.sent_ns > self._timeout
        error = 'timeout' if late else None
        self._note(flight.sent_ns, answer.received_ns, answer.received_ns, error)
        if not late:
            self._outbox.add(flight.sent_ns, answer.received_ns, answer.response)

    def _call(self, line: Line, now: float) -> None:
        due = self._due
        if self._period is None or due is None or now < due or self._flight is not None:
            return
        presence = self._presence
        # Before a server was first there, only its absence is of interest.
        if not presence.ever or (presence.there and not presence.settled(now)):
            return
        # The schedule stands still for nobody: what a slow call made us miss is left out.
        self._due = due + (int((now - due) / self._period) + 1) * self._period
        if presence.there:
            self._flight = _Flight(*line.send(self._request))
        else:
            now_ns = time.time_ns()
            self._note(now_ns, None, now_ns, 'unavailable')

    def _note(self, sent: int, received: int | None, ended: int, error: str | None) -> None:
        self._journal.write(ended, {
            'event': 'call', 'sent_ns': sent, 'received_ns': received, 'ended_ns': ended,
            'error': error,
        })


def interface_class(type_name: str) -> Any:
    """Return the Python class of a service or action type.

    Raises ImportError or AttributeError where there is none.
    """
    package, kind, name = type_name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), name)


def not_installed(type_name: str) -> str:
    """Say that a type cannot be used here."""
    package = type_name.split('/', 1)[0]
    return f'{type_name} has no Python support here: is {package} installed and sourced?'


def written_problems(
    store: TypeStore, type_name: str, values: dict[str, Any], path: KeyPath, marks: Marked
) -> Iterator[Problem]:
    """Yield what is wrong with a message written at ``path`` of a spec.

    Nothing where its type is not known: then the journal tells.
    """
    try:
        for place, reason in findings(store, type_name, values):
            yield marks.problem((*path, *place), reason, at_key=' has no field ' in reason)
    except UnknownTypeError:
        return
