"""Load: it is really there, it ends when the step does, and it never outlives the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from robot_qa.processes import Processes
from robot_qa.scenario import burner
from robot_qa.scenario.load_actor import LoadActor
from robot_qa.scenario.memory_room import MIB, RESERVE, Room, memory_room
from robot_qa.scenario.player import Doing, Done
from robot_qa.spec.scenario import Step

ROOT = Path(__file__).parent.parent


def load(**given: Any) -> Step:
    return Step.model_validate({'at': '0 s', 'for': '1 s', 'load': given})


def over(doing: Doing, within_s: float = 20.0) -> Done:
    deadline = time.monotonic() + within_s
    while (done := doing.poll()) is None:
        assert time.monotonic() < deadline, 'not over'
        time.sleep(0.005)
    return done


def undone(done: Done) -> Done:
    assert done.ok and done.undo is not None, done.detail
    return over(done.undo())


def wait_for(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, 'it did not happen'
        time.sleep(0.005)


def burners(parent: int | None = None) -> list[psutil.Process]:
    found = []
    for one in psutil.Process(parent).children(recursive=True):
        try:
            if 'robot_qa.scenario.burner' in one.cmdline():
                found.append(one)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as made:
        yield made


@pytest.fixture
def actor(processes: Processes) -> Iterator[LoadActor]:
    made = LoadActor(processes)
    yield made
    made.close()


def test_cores_are_shared_out() -> None:
    assert burner.shares(0.0) == []
    assert burner.shares(2.0) == [1.0, 1.0]
    assert burner.shares(1.25) == [1.0, 0.25]
    assert burner.shares(0.5) == [0.5]


@pytest.mark.parametrize('share', [0.2, 1.0])
def test_a_share_of_a_core_is_used(share: float) -> None:
    begin, used = time.monotonic(), time.thread_time()
    burner.burn(share, begin + 0.4)
    passed, used = time.monotonic() - begin, time.thread_time() - used
    # A busy machine gives less, never more.
    assert used <= share * passed + 0.02
    assert used >= 0.2 * share * passed


def test_all_pages_are_there() -> None:
    before = psutil.Process().memory_info().rss
    held = burner.hold(50 * MIB + 5)
    assert psutil.Process().memory_info().rss - before >= 50 * MIB
    assert len(held) == 50 * MIB + 5 and any(held[50 * MIB - 64:50 * MIB])
    held.close()


def test_cpu_time_is_taken_and_given_back(actor: LoadActor) -> None:
    done = over(actor.begin(load(cpu=1.5)))
    assert done.detail == f'a load of 1.5 of {os.cpu_count()} cores'
    running = burners()
    assert len(running) == 3                  # the parent, a whole core and half of one

    def used() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in running)

    begin, before = time.monotonic(), used()
    wait_for(lambda: used() - before > 0.3)
    assert used() - before <= 1.5 * (time.monotonic() - begin) + 0.1
    last = undone(done)
    assert last.ok and 'it got ' in last.detail and ' cores for ' in last.detail
    assert float(last.detail.partition('it got ')[2].split()[0]) > 0.1
    assert not burners()


def test_memory_is_held_once_and_given_back(actor: LoadActor) -> None:
    done = over(actor.begin(load(cpu=1, memory='200 MiB')))
    held = [one.memory_info().rss - one.memory_info().shared for one in burners()]
    assert max(held) >= 200 * MIB and sum(held) < 240 * MIB
    last = undone(done)
    assert last.ok and '200 MiB of memory held' in last.detail
    assert not burners()


def test_two_loads_at_a_time_end_by_themselves(actor: LoadActor) -> None:
    one, other = over(actor.begin(load(cpu=0.1))), over(actor.begin(load(memory='10 MiB')))
    assert undone(one).ok
    (left,) = burners()
    assert left.memory_info().rss >= 10 * MIB
    assert undone(other).ok and not burners()


def test_more_memory_than_there_is_is_refused_with_the_numbers(actor: LoadActor) -> None:
    step = load(memory='900000 GiB')
    reason = actor.lack(step)
    assert reason is not None and '921600000 MiB were to be held' in reason
    assert 'available' in reason
    done = over(actor.begin(step))
    assert not done.ok and done.detail.startswith('921600000 MiB') and not burners()
    assert actor.lack(load(memory='1 MiB', cpu=0.5)) is None


def test_a_load_that_was_killed_is_no_success(actor: LoadActor) -> None:
    done = over(actor.begin(load(cpu=0.1)))
    for one in burners():
        with suppress(psutil.NoSuchProcess):  # it may end with the one that keeps it
            one.kill()
    wait_for(lambda: not burners())
    last = undone(done)
    assert not last.ok and 'SIGKILL' in last.detail and 'memory runs out' in last.detail


def test_a_load_that_lost_a_process_is_no_success(actor: LoadActor) -> None:
    done = over(actor.begin(load(cpu=1.1)))
    root = next(one for one in burners() if one.children())
    root.children()[0].kill()
    wait_for(lambda: len([one for one in burners() if one.status() != 'zombie']) == 2)
    last = undone(done)
    assert not last.ok and '2 of 3 processes' in last.detail
    assert not burners()


def test_it_is_what_the_kernel_ends_first(actor: LoadActor) -> None:
    done = over(actor.begin(load(cpu=0.1)))
    assert {Path(f'/proc/{one.pid}/oom_score_adj').read_text().strip() for one in burners()} \
        == {'1000'}
    undone(done)


def test_without_processes_of_a_run_it_keeps_its_own() -> None:
    actor = LoadActor(None)
    over(actor.begin(load(cpu=0.1)))
    assert burners()
    actor.close()
    assert not burners()


SESSION = """
import sys, time
from robot_qa.scenario.load_actor import LoadActor
from robot_qa.spec.scenario import Step
actor = LoadActor(None)
doing = actor.begin(Step.model_validate(
    {'at': '0 s', 'for': '9 s', 'load': {'cpu': 1.1, 'memory': '20 MiB'}}))
while doing.poll() is None:
    time.sleep(0.01)
print(doing.poll().detail, flush=True)
time.sleep(60)
"""


def test_it_does_not_outlive_a_session_that_was_killed() -> None:
    session = subprocess.Popen(
        [sys.executable, '-c', SESSION], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    assert session.stdout is not None
    assert '20 MiB' in session.stdout.readline()
    running = burners(session.pid)
    assert len(running) == 3
    session.send_signal(signal.SIGKILL)
    session.wait()
    session.stdout.close()
    gone, alive = psutil.wait_procs(running, timeout=10)
    assert len(gone) == 3 and not alive


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def machine(tmp_path: Path, cgroup: str) -> Path:
    return written(tmp_path / 'proc', {
        'meminfo': 'MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n',
        'self/cgroup': cgroup,
    })


def test_the_room_is_that_of_the_machine(tmp_path: Path) -> None:
    room = memory_room(machine(tmp_path, '0::/a\n'), tmp_path / 'groups')
    assert room == Room(4096 * MIB, 8192 * MIB, 'this machine')


def test_a_control_group_above_us_may_be_narrower(tmp_path: Path) -> None:
    groups = written(tmp_path / 'groups', {
        'a/memory.max': f'{1024 * MIB}\n', 'a/memory.current': f'{900 * MIB}\n',
        'a/memory.stat': f'anon 5\ninactive_file {100 * MIB}\n',
        'a/b/memory.max': 'max\n', 'a/b/memory.current': '5\n', 'a/b/memory.stat': 'anon 5\n',
    })
    room = memory_room(machine(tmp_path, '0::/a/b\n'), groups)
    assert room == Room(224 * MIB, 1024 * MIB, f'the control group {groups}/a')


def test_version_one_and_a_path_from_outside_the_container(tmp_path: Path) -> None:
    groups = written(tmp_path / 'groups', {
        'memory/memory.limit_in_bytes': f'{512 * MIB}\n',
        'memory/memory.usage_in_bytes': f'{300 * MIB}\n',
        'memory/memory.stat': f'inactive_file 1\ntotal_inactive_file {50 * MIB}\n',
    })
    proc = machine(tmp_path, '5:cpu,cpuacct:/x\n4:memory:/docker/0123\n0::/\n')
    assert memory_room(proc, groups).available == 262 * MIB
    written(groups, {'memory/memory.limit_in_bytes': '9223372036854771712\n'})
    assert memory_room(proc, groups).where == 'this machine'


def test_a_reserve_stays_free() -> None:
    room = Room(1000 * MIB, 2000 * MIB, 'this machine')
    assert room.refusal(1000 * MIB - RESERVE) is None
    assert room.refusal(1000 * MIB - RESERVE + 1) == (
        '936 MiB were to be held, but of the 2000 MiB of this machine only 1000 MiB are '
        'available, and 64 MiB stay free')
