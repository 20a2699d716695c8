"""The ``robot_qa`` command."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import robot_qa
from robot_qa.errors import QuantityError, RobotQaError, SpecError

if TYPE_CHECKING:
    from robot_qa.report.model import Report
    from robot_qa.spec.loader import LoadedSpec


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 passed, 1 failed, 2 misused, 3 inconclusive, 4 an error."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return int(given.command(given))
    except RobotQaError as error:
        print(error if isinstance(error, SpecError) else f'robot_qa: {error}', file=sys.stderr)
        return _code_of(error)
    except OSError as error:  # the disk is full, a folder may not be written to
        if not isinstance(error, BrokenPipeError):
            print(f'robot_qa: {error}', file=sys.stderr)
        return _code_of(error)


def _code_of(error: Exception) -> int:
    from robot_qa.checks import exit_code

    return exit_code(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='robot_qa', description=robot_qa.__doc__)
    parser.add_argument('--version', action='version', version=robot_qa.__version__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    validate = commands.add_parser('validate', help='show every error of every spec')
    validate.add_argument('specs', nargs='+', type=Path, metavar='SPEC')
    validate.set_defaults(command=_validate)

    run = commands.add_parser('run', help='watch a running system, or start one, and judge it')
    _add_spec(run)
    run.add_argument('--duration', metavar='T', help='watch this long, such as 30s')
    run.add_argument('--record', action='store_true', help='keep recording.mcap')
    run.add_argument('--quiet', action='store_true', help='print nothing but errors')
    run.add_argument('--attach', action='store_true',
                     help='watch a robot that runs already: start and simulate nothing')
    run.add_argument('--armed', action='store_true',
                     help='let it act on a robot that it has not started, as the spec allows')
    run.add_argument('--until-stopped', action='store_true',
                     help='one run after another, until Ctrl-C, each in a folder of its own')
    run.add_argument('--keep', type=int, default=24, metavar='N',
                     help='with --until-stopped: how many folders of passed runs, and of others, '
                          'stay (24)')
    run.set_defaults(command=_run)

    check = commands.add_parser('check', help='judge a recording; needs no ROS')
    _add_spec(check)
    check.add_argument('bag', type=Path, help='MCAP file, rosbag2 folder, or .db3 file')
    check.add_argument('--quiet', action='store_true', help='print nothing but errors')
    check.set_defaults(command=_check)

    _add_new(commands)

    interfaces = commands.add_parser('interfaces', help='compile .msg, .srv and .action packages')
    actions = interfaces.add_subparsers(required=True, metavar='ACTION')
    build = actions.add_parser('build', help='into the current environment, without colcon')
    build.add_argument('folders', nargs='+', type=Path, metavar='DIR')
    build.add_argument('--prefix', type=Path, help='another place than the virtual environment')
    build.set_defaults(command=_build_interfaces)

    schema = commands.add_parser('schema', help='print the JSON Schema of a spec, for editors')
    schema.add_argument('--report', action='store_true', help='that of report.json instead')
    schema.set_defaults(command=_schema)
    return parser


def _add_new(commands: Any) -> None:
    new = commands.add_parser('new', help='write a first spec')
    source = new.add_mutually_exclusive_group()
    source.add_argument(
        '--from-graph', action='store_true', help='from what runs on the ROS graph right now'
    )
    source.add_argument('--from-bag', type=Path, metavar='BAG', help='from a recording')
    new.add_argument(
        '--duration', metavar='T', default='10s', help='watch the graph this long (10s)'
    )
    new.add_argument('--name', default='', help='the name of the spec')
    new.add_argument('--out', type=Path, metavar='FILE', help='instead of standard output')
    new.set_defaults(command=_new)


def _add_spec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('spec', type=Path, metavar='SPEC')
    parser.add_argument('--out', type=Path, metavar='DIR', help='the folder of the run')
    parser.add_argument(
        '--set', action='append', default=[], metavar='KEY=VALUE', dest='overrides',
        help="replace one of the spec's parameters",
    )


def _validate(given: argparse.Namespace) -> int:
    from robot_qa.spec.loader import load_spec

    code = 0
    for path in given.specs:
        try:
            load_spec(path)
        except SpecError as error:
            print(error, file=sys.stderr)
            code = _code_of(error)
    return code


def _run(given: argparse.Namespace) -> int:
    from rich.console import Console

    from robot_qa.live_run import RunOptions
    from robot_qa.quantities import parse_duration
    from robot_qa.report.view import open_view
    from robot_qa.session import run_live
    from robot_qa.spec.loader import load_spec

    duration = parse_duration(given.duration) if given.duration else None
    if duration is not None and duration <= 0:
        raise QuantityError('--duration must be longer than zero')
    loaded = load_spec(given.spec, _overrides(given.overrides))
    if given.attach:
        from robot_qa.spec.attach import attached

        loaded = attached(loaded)
    if given.until_stopped:
        return _run_rounds(given, loaded)
    view = open_view(Console(), given.quiet)
    folder, report = run_live(
        loaded, RunOptions(given.out, duration, given.record, view, given.armed)
    )
    return _conclude(report, folder, given.quiet)


def _run_rounds(given: argparse.Namespace, loaded: LoadedSpec) -> int:
    from robot_qa.checks import EXIT_CODES
    from robot_qa.rounds import Bench, Ledger, folder_of
    from robot_qa.spec.hardware import check_harmless

    if given.keep < 1:
        raise QuantityError('--keep must be at least 1')
    if not given.armed:
        check_harmless(loaded.spec)
    words = ['run', str(given.spec), '--quiet']
    words += ['--duration', given.duration] if given.duration else []
    words += ['--record'] if given.record else []
    words += ['--armed'] if given.armed else []
    words += ['--attach'] if given.attach else []
    for override in given.overrides:
        words += ['--set', override]
    say = (lambda line: None) if given.quiet else (lambda line: print(line, flush=True))
    ledger = Ledger(given.out or folder_of(loaded), given.keep, say)
    return EXIT_CODES[Bench(ledger, words).go()]


def _check(given: argparse.Namespace) -> int:
    from robot_qa.session import check_recording
    from robot_qa.spec.loader import load_spec

    loaded = load_spec(given.spec, _overrides(given.overrides))
    folder, report = check_recording(loaded, given.bag, given.out)
    return _conclude(report, folder, given.quiet)


def _conclude(report: Report, folder: Path, quiet: bool) -> int:
    from rich.console import Console

    from robot_qa.checks import EXIT_CODES, Verdict
    from robot_qa.report.writers import text

    if not quiet:
        Console(soft_wrap=True, highlight=False).print(text(report, folder))
    return EXIT_CODES[Verdict(report.verdict)]


def _new(given: argparse.Namespace) -> int:
    from importlib.resources import files

    if given.from_graph:
        from robot_qa.quantities import parse_duration
        from robot_qa.session import draft_live

        text = draft_live(given.name or 'drafted', parse_duration(given.duration))
    elif given.from_bag:
        from robot_qa.session import draft_recording

        text = draft_recording(given.name or given.from_bag.stem, given.from_bag)
    else:
        text = (files('robot_qa') / 'template.qa.yaml').read_text(encoding='utf-8')
    if given.out is None:
        print(text, end='')
    elif given.out.exists():
        raise QuantityError(f'{given.out} is already there; nothing was written')
    else:
        given.out.write_text(text, encoding='utf-8')
    return 0


def _build_interfaces(given: argparse.Namespace) -> int:
    from robot_qa.messages.interfaces import build

    build(given.folders, given.prefix, print)
    return 0


def _schema(given: argparse.Namespace) -> int:
    if given.report:
        from robot_qa.report.model import json_schema
    else:
        from robot_qa.spec.model import json_schema
    print(json.dumps(json_schema(), indent=2))
    return 0


def _overrides(pairs: list[str]) -> dict[str, str]:
    from robot_qa.spec.parameters import read_overrides

    return read_overrides(pairs, '--set')


def console() -> None:
    """Run as the installed command."""
    try:
        code = main()
    except Exception as error:  # Python would exit with 1, which is that of FAIL
        traceback.print_exc()
        code = _code_of(error)
    sys.exit(code)


if __name__ == '__main__':
    console()
