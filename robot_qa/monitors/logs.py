"""/rosout and /diagnostics: nothing at or above a level but what is known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from robot_qa.errors import MessageError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    exact,
    missing,
)
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.logs import Diagnostics, Rosout
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import NS_PER_S

ROSOUT = '/rosout'
DIAGNOSTICS = '/diagnostics'
# rcl_interfaces/msg/Log
LOG_LEVELS = {'debug': 10, 'info': 20, 'warn': 30, 'error': 40, 'fatal': 50}
# diagnostic_msgs/msg/DiagnosticStatus
STATUS_LEVELS = {'ok': 0, 'warn': 1, 'error': 2, 'stale': 3}
# How our own nodes begin, whose messages say nothing about the robot.
OURS = '_robot_qa_'
# A key among the values of each status in which a monitor says how its checks stand. It tells
# them from the robot's under any name, on any host, and in any recording.
OUR_STATUS = 'robot_qa'

# What the live probe notes of a topic that is published and silent.
_SILENT_PUBLISHERS = re.compile(r'published by (.+), which sent nothing')
_NAMES_SHOWN = 8
# /rosout is latched: a subscription begins with what was logged up to 10 s before. That history
# comes at once; whatever comes later than this is new, also where a host's clock is behind ours.
_HISTORY_NS = 2 * NS_PER_S


def log_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of the ``logs:`` and ``diagnostics:`` blocks."""
    monitors: list[Monitor] = []
    if spec.logs is not None:
        monitors.append(RosoutMonitor(spec.logs.rosout, context))
    if spec.diagnostics is not None:
        monitors.append(DiagnosticsMonitor(spec.diagnostics, context))
    return monitors


class Quotes:
    """Counts messages that should not be, and keeps the first few different texts of them."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = [re.compile(pattern) for pattern in allowed]
        self.found = Findings()

    def harmless(self, text: str) -> bool:
        """Tell whether a pattern of the allow list is found in a text."""
        return any(pattern.search(text) for pattern in self._allowed)

    def add(self, received_ns: int, texts: Iterable[str]) -> None:
        """Count one message and keep those of its texts that are new."""
        self.join(Findings(1, [Evidence(received_ns, text, text) for text in texts]))

    def join(self, later: Findings) -> None:
        """Count what was found later and keep those of its texts that are new."""
        self.found.total += later.total
        for evidence in later.kept:
            known = any(one.text == evidence.text for one in self.found.kept)
            if not known and len(self.found.kept) < EVIDENCE_KEPT:
                self.found.kept.append(evidence)


class RosoutMonitor:
    """No message at or above a level, of those that were sent since the observation began.

    A silent log looks like a missing one, so without any message the check passes only where the
    probe knows of a publisher of /rosout that sent nothing (of every node, if nodes are named).
    """

    def __init__(self, rosout: Rosout, context: Context) -> None:
        self.topics = (ROSOUT,)
        self._check = Check('logs.rosout.below', ROSOUT, Limit('max', 0), 'violations')
        self.checks = [self._check]
        self._level = LOG_LEVELS[rosout.below]
        self._nodes = rosout.nodes
        self._context = context
        self._readers: list[FieldReader] = []
        self._count = 0
        self._heard: set[str] = set()
        self._quotes = Quotes(rosout.allow)
        self._first: int | None = None
        # What may be history, as only the start of the observation tells: sent, received, text.
        self._early: list[tuple[int, int, str]] = []

    def update(self, batch: Batch) -> None:
        """Look at the level of each message, and at the text of those that are too high."""
        if not self._readers:
            self._readers = [
                compile_field(self._context.store, batch.type, path)
                for path in ('level', 'name', 'msg')
            ]
        levels, names, texts = self._readers
        high = levels.column(batch.payloads)
        rows = set(high.rows[high.values >= self._level].tolist())
        column = names.column(batch.payloads)
        loggers = dict(zip(column.rows.tolist(), column.values.tolist(), strict=True))
        sent = (batch.received_ns if batch.source_ns is None else batch.source_ns).tolist()
        for row, received in enumerate(batch.received_ns.tolist()):
            if self._first is None:
                self._first = received
            logger = loggers.get(row)
            if logger is not None and not self._concerns(logger):
                continue
            self._count += 1
            if logger is not None and row not in rows:
                continue
            try:
                text = texts.read(batch.payloads[row])
            except MessageError as error:
                self._note(sent[row], received, f'the message cannot be read: {error}')
                continue
            if not self._quotes.harmless(text):
                level = _shown(high.values[high.rows == row][0], LOG_LEVELS)
                self._note(sent[row], received, f'[{level}] {logger}: {text}')

    def _note(self, sent: int, received: int, text: str) -> None:
        if received - (self._first or 0) < _HISTORY_NS:
            self._early.append((sent, received, text))
        else:
            self._quotes.add(received, [text])

    def _concerns(self, logger: str) -> bool:
        if logger.rpartition('.')[2].startswith(OURS):
            return False
        if not self._nodes:
            return True
        # A node's logger is its name with dots; its children's follow behind another dot.
        whose = [node for node in self._nodes
                 if f'{logger}.'.startswith(f'{node[1:].replace("/", ".")}.')]
        self._heard.update(whose)
        return bool(whose)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return how many messages were too high."""
        quotes = Quotes([])
        for sent, received, text in self._early:
            if sent >= seen.start_ns:
                quotes.add(received, [text])
        quotes.join(self._quotes.found)
        if quotes.found.total:
            return [exact(self._check, quotes.found.total, self._count, quotes.found)]
        publishers = {
            name for note in seen.notes.get(ROSOUT, ())
            if (match := _SILENT_PUBLISHERS.search(note)) for name in match[1].split(', ')
        }
        unknown = [node for node in self._nodes if node not in publishers | self._heard]
        if unknown:
            reason = f'no message of {", ".join(unknown)}: silent, or not there?'
            return [missing(self._check, self._count, reason)]
        if not self._count and not publishers:
            return [missing(self._check, 0)]
        silent = '' if self._count else 'published, and silent'
        return [Measurement(self._check, 0, 0, 0, self._count, reason=silent)]


class DiagnosticsMonitor:
    """No status at or above a level, and certain statuses present. Silence decides nothing.

    What monitors of robot_qa say of their own checks does not count.
    """

    def __init__(self, diagnostics: Diagnostics, context: Context) -> None:
        self.topics = (DIAGNOSTICS,)
        self.checks: list[Check] = []
        if diagnostics.below is not None:
            self.checks.append(
                Check('diagnostics.below', DIAGNOSTICS, Limit('max', 0), 'violations'))
        # More than any byte where no level is declared.
        self._level = STATUS_LEVELS[diagnostics.below] if diagnostics.below else 256
        self._wanted: dict[str, re.Pattern[str]] = {}
        for pattern in diagnostics.names:
            name = f'diagnostics.names.{pattern}.present'
            self._wanted[name] = re.compile(pattern)
            self.checks.append(
                Check(name, DIAGNOSTICS, Limit('min', 1), 'statuses', at_end=True))
        self._context = context
        self._readers: list[FieldReader] = []
        self._count = self._ours = 0
        self._names: dict[str, int] = {}
        self._quotes = Quotes(diagnostics.allow)

    def update(self, batch: Batch) -> None:
        """Look at every status of every message."""
        if not self._readers:
            self._readers = [
                compile_field(self._context.store, batch.type, f'status[*].{path}')
                for path in ('level', 'name', 'message', 'values[*].key')
            ]
        for payload, received in zip(batch.payloads, batch.received_ns.tolist(), strict=True):
            try:
                levels, names, texts, keys = (reader.read(payload) for reader in self._readers)
            except MessageError as error:
                self._count += 1
                self._quotes.add(received, [f'the message cannot be read: {error}'])
                continue
            if any(OUR_STATUS in of_status for of_status in keys):
                self._ours += 1
                continue
            self._count += 1
            for name in names:
                self._names[name] = self._names.get(name, 0) + 1
            bad = [
                f'[{_shown(level, STATUS_LEVELS)}] {name}: {text}'
                for level, name, text in zip(levels, names, texts, strict=True)
                if level >= self._level and not self._quotes.harmless(f'{name}: {text}')
            ]
            if bad:
                self._quotes.add(received, bad)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return how many messages had a bad status, and how many statuses bore each name."""
        return [self._measure(check, seen) for check in self.checks]

    def _measure(self, check: Check, seen: Observation) -> Measurement:
        if not self._count:
            heard = 'nobody but robot_qa itself sent anything' if self._ours else ''
            return missing(check, 0, heard)
        if check.name not in self._wanted:
            found = self._quotes.found
            if not self._names and not found.total:
                return missing(check, self._count, 'no message held a status')
            return exact(check, found.total, self._count, found)
        pattern = self._wanted[check.name]
        count = sum(n for name, n in self._names.items() if pattern.search(name))
        names = sorted(self._names)
        listed = ', '.join(names[:_NAMES_SHOWN]) + ', ...' * (len(names) > _NAMES_SHOWN)
        absent = Evidence(seen.end_ns, None, f'the statuses are: {listed or "none"}')
        return exact(check, count, self._count, Findings(0, [] if count else [absent]))


def _shown(level: Any, levels: dict[str, int]) -> str:
    return next((name.upper() for name, value in levels.items() if value == level), str(level))
