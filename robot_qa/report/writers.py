"""A report as files: JSON, JUnit XML, and text for a terminal."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from robot_qa.checks import Verdict
from robot_qa.report.model import CheckPart, ClockPart, PerceptionPart, Report
from robot_qa.timebase import NS_PER_S

# XML 1.0 cannot hold these characters, not even escaped.
NOT_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
# A table of more columns than these is not shown in a terminal.
MOST_COLUMNS = 10
MARKS = {'PASS': 'green', 'FAIL': 'red', 'INCONCLUSIVE': 'yellow', 'ERROR': 'magenta'}


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` so that a reader sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_report(report: Report, folder: Path, skip_inconclusive: bool) -> None:
    """Write ``report.json`` and ``junit.xml`` into the folder of a run."""
    write_atomically(folder / 'report.json', report.model_dump_json(indent=2) + '\n')
    write_atomically(folder / 'junit.xml', junit(report, skip_inconclusive))


def junit(report: Report, skip_inconclusive: bool) -> str:
    """Return the report as JUnit XML: a test case per check, measured values as properties."""
    counts = Counter(check.verdict for check in report.checks)
    inconclusive = counts['INCONCLUSIVE']
    totals: dict[str, str] = {
        'tests': str(len(report.checks)),
        'failures': str(counts['FAIL'] + (0 if skip_inconclusive else inconclusive)),
        'errors': str(counts['ERROR']),
        'skipped': str(inconclusive if skip_inconclusive else 0),
        'time': f'{report.duration_s:.3f}',
    }
    root = ElementTree.Element('testsuites', totals)
    suite = ElementTree.SubElement(
        root, 'testsuite', {'name': _xml(report.name), 'timestamp': report.started, **totals}
    )
    for check in report.checks:
        _add_case(suite, report, check, skip_inconclusive)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode', xml_declaration=True) + '\n'


def _add_case(
    suite: ElementTree.Element, report: Report, check: CheckPart, skip_inconclusive: bool
) -> None:
    case = ElementTree.SubElement(
        suite, 'testcase', name=_xml(check.name),
        classname='robot_qa.' + re.sub(r'\W+', '_', report.name), time='0',
    )
    properties = ElementTree.SubElement(case, 'properties')
    measured = check.measured.model_dump() if check.measured else {}
    limit = {'limit': f'{check.limit.side} {check.limit.value:g}'} if check.limit else {}
    for name, value in {'verdict': check.verdict, 'source': check.source, **measured,
                        **limit}.items():
        if value is not None:
            ElementTree.SubElement(properties, 'property', name=name, value=_xml(str(value)))
    if check.verdict == 'PASS':
        return
    kind = {'FAIL': 'failure', 'ERROR': 'error'}.get(check.verdict, 'failure')
    if check.verdict == 'INCONCLUSIVE' and skip_inconclusive:
        kind = 'skipped'
    outcome = ElementTree.SubElement(
        case, kind, type=check.verdict.lower(), message=_xml(check.reason)
    )
    outcome.text = _xml('\n'.join([check.source, *(one.text for one in check.evidence)]))


def text(report: Report, folder: Path) -> str:
    """Return the report for a terminal, in rich's markup: the worst last, next to the verdict."""
    lines = []
    for check in sorted(report.checks, key=lambda check: Verdict(check.verdict).severity):
        lines += _check_lines(check, report.start_ns)
    counts = Counter(check.verdict for check in report.checks)
    tally = ', '.join(f'{count} {name}' for name, count in counts.most_common())
    colour = MARKS[report.verdict]
    lines.append('')
    lines += _perception_lines(report)
    lines += _monitor_lines(report)
    lines.append(
        f'[bold {colour}]{report.verdict}[/]  {plain(report.name)}: {tally} '
        f'in {report.duration_s:.1f} s'
    )
    lines.append(f'report: {plain(str(folder))}')
    return '\n'.join(lines)


def _check_lines(check: CheckPart, start_ns: int) -> list[str]:
    """Return the line of a check and, unless it passed, where it stands and its evidence."""
    colour = MARKS[check.verdict]
    lines = [f'[{colour}]{check.verdict:12}[/] {plain(check.name)}: {plain(check.reason)}']
    if check.verdict != 'PASS':
        lines.append(f'{"":13}{plain(check.source)}')
        for one in check.evidence:
            after = (one.stamp_ns - start_ns) / NS_PER_S
            lines.append(f'{"":13}after {after:.3f} s: {plain(one.text)}')
    return lines


def _perception_lines(report: Report) -> list[str]:
    """Return what was taken for what in all frames, as tables; the report has those of slices."""
    return [plain(line) for part in report.perception
            if part.slice is None and len(part.taken_for) <= MOST_COLUMNS
            for line in [*_table(part), '']]


def _table(part: PerceptionPart) -> list[str]:
    title = f'{part.name}, {part.frames} frames'
    rows = [[name, *map(str, counts)] for name, counts in zip(part.true, part.counts, strict=True)]
    first = max(len(title), *(len(row[0]) for row in rows))
    widths = [max(len(cell) for cell in column)
              for column in zip(part.taken_for, *(row[1:] for row in rows), strict=True)]
    return [
        f'{name:{first}}' + ''.join(f'  {cell:>{width}}' for cell, width in zip(
            cells, widths, strict=True))
        for name, *cells in [[title, *part.taken_for], *rows]
    ]


def _monitor_lines(report: Report) -> list[str]:
    lines = []
    lost = {topic: count for topic, count in report.monitor.overruns.items() if count}
    if lost:
        shown = ', '.join(f'{count} on {topic}' for topic, count in lost.items())
        lines.append(f'[yellow]the monitor itself lost {plain(shown)}[/]')
    lines += [plain(_clock_line(clock)) for clock in report.clocks
              if not clock.ours or clock.round_trips]
    for topic, notes in report.monitor.notes.items():
        lines += [plain(f'note: {topic + ": " if topic else ""}{one}') for one in notes]
    return lines


def _clock_line(clock: ClockPart) -> str:
    who = f'{clock.host} ({clock.node})' if clock.host else f'another host ({clock.key})'
    stamps = ', '.join(f'{one.topic} by {one.node}' for one in clock.stamps)
    return f'clock: that of {who} {clock.summary}' + (f'; it stamps {stamps}' if stamps else '')


def plain(words: str) -> str:
    """Keep rich from taking square brackets in user text for markup."""
    return words.replace('[', '\\[')


def _xml(words: str) -> str:
    return NOT_XML.sub('\ufffd', words)
