"""Resources: the trend's bounds by simulation, monitors on planted samples, real processes.

What the probe writes is made by hand in the first part; the second starts processes that leak,
burn, and open files, and one that is quiet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from robot_qa.checks import judge
from robot_qa.errors import SpecError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.readings import format_reading
from robot_qa.monitors.resources import resource_monitors
from robot_qa.monitors.trend import trend
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.gpu import Machine, Tegrastats
from robot_qa.probes.journal import Journal, entries
from robot_qa.probes.recorder import Recorder
from robot_qa.probes.resources import ResourceProbe, Tree
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec, declared_checks
from robot_qa.spec.resources import Resource
from samples import MS, START, S, context, observed, split

MIB = 2**20
ROOT = Path(__file__).parent.parent


def spec_of(resources: dict[str, Any], duration: str = '60 s') -> TestSpec:
    names = [name for name in resources if name != 'machine']
    return TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': duration, 'resources': resources,
        'system': {'processes': [{'name': name, 'command': ['true']} for name in names]},
    })


def journal(told: list[dict[str, Any]], name: str = 'it', every: int = 200 * MS) -> Batch:
    book = Journal(f'resources/{name}')
    for index, entry in enumerate(told):
        book.write(START + index * every, entry)
    (only,) = book.drain()
    return only


def verdicts(
    spec: TestSpec, batches: list[Batch], seen: Observation | None = None
) -> dict[str, tuple[str, str]]:
    found = {}
    for monitor in resource_monitors(spec, context()):
        for one in batches:
            if one.topic in monitor.topics:
                monitor.update(one)
        monitor.measure(observed(1.0))  # asking early must not change the answer
        for measured in monitor.measure(seen or observed(60.0)):
            result = judge(measured, 'x:1:1')
            found[result.name.removeprefix('resources.')] = result.verdict.value, result.reason
    assert set(found) == {
        name.removeprefix('resources.') for name, _ in declared_checks(spec)
    }
    return found


def judged(
    limits: dict[str, Any], told: list[dict[str, Any]], name: str = 'it'
) -> tuple[str, str]:
    (only,) = verdicts(spec_of({name: limits}), [journal(told, name)]).values()
    return only


def noisy(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(count)


# The trend.

def series(rng: np.random.Generator, count: int, rho: float, many: int) -> NDArray[np.float64]:
    """``many`` autoregressive series of ``count`` values, with what came before left out."""
    errors = rng.standard_normal((many, count + 300))
    return np.asarray(lfilter([1.0], [1.0, -rho], errors, axis=1))[:, 300:]


@pytest.mark.parametrize('count', [60, 300, 1500])
@pytest.mark.parametrize('rho', [0.0, 0.5, 0.9, 0.97, 0.995])
def test_bounds_of_a_trend_are_wrong_at_most_as_often_as_they_say(
    count: int, rho: float
) -> None:
    rng = np.random.default_rng(count)
    seconds = np.arange(count) * 0.2
    true, many = 3.0, 400
    low = high = 0
    for errors in series(rng, count, rho, many):
        found = trend(seconds, true * seconds + errors, 0.95, 0.0)
        assert found is not None
        low += found.low > true
        high += found.high < true
    # 5 % of 400 is 20; 32 would come by chance once in 250 times.
    assert max(low, high) <= 32


def test_what_correlation_is_left_between_batches_widens_the_bounds() -> None:
    rng = np.random.default_rng(7)
    seconds = np.arange(60) * 0.2
    found = [trend(seconds, errors, 0.95, 0.0) for errors in series(rng, 60, 0.5, 2000)]
    wrong = sum(one is not None and (one.low > 0 or one.high < 0) for one in found)
    # Both sides together; without the correction 6.3 % of each.
    assert wrong / 4000 < 0.053


def test_what_wanders_without_a_trend_is_rarely_taken_for_one() -> None:
    rng = np.random.default_rng(1)
    walks = np.cumsum(rng.standard_normal((400, 300)), axis=1)
    found = [trend(np.arange(300.0), walk, 0.95, 0.0) for walk in walks]
    assert sum(one is not None and one.low > 0 for one in found) <= 32
    assert sum(one is not None and one.high < 0 for one in found) <= 32


def test_a_trend_that_bends_is_still_one() -> None:
    seconds = np.arange(60.0)
    found = trend(seconds, 10.0 * seconds + seconds**2, 0.95, 0.0)
    assert found is not None
    assert found.low > 10.0
    once = trend(seconds, 1000.0 * (seconds > 5), 0.95, 0.0)
    assert once is not None and once.low < 0, 'a single step at the beginning is no trend'


def test_a_trend_is_found_through_outliers_and_its_size_is_right() -> None:
    seconds = np.arange(300) * 0.2
    values = 5.0 * seconds + 0.1 * noisy(300)
    values[::25] += 1000.0 * (np.arange(12) % 3 == 0)
    found = trend(seconds, values, 0.95, 0.0)
    assert found is not None
    assert found.slope == pytest.approx(5.0, abs=0.01)
    assert 4.9 < found.low < found.high < 5.1


def test_what_is_below_the_resolution_is_not_ruled_out() -> None:
    seconds = np.arange(100) * 0.2
    found = trend(seconds, np.full(100, 7.0), 0.95, 4096.0)
    assert found is not None
    assert found.slope == 0.0
    assert found.high == pytest.approx(4096 / seconds[-1])
    assert found.low == pytest.approx(-4096 / seconds[-1])


def test_too_few_samples_or_no_time_give_no_trend() -> None:
    assert trend(np.arange(39.0), np.arange(39.0), 0.95, 0.0) is None
    assert trend(np.zeros(100), np.arange(100.0), 0.95, 0.0) is None


# Monitors on planted samples.

@pytest.mark.parametrize('per_minute,limit,verdict', [
    (60 * MIB, '1 MiB/min', 'FAIL'),
    (0.0, '1 MiB/min', 'PASS'),
    (-5 * MIB, '1 MiB/min', 'PASS'),
    (1 * MIB, '1 MiB/min', 'INCONCLUSIVE'),
])
def test_growth(per_minute: float, limit: str, verdict: str) -> None:
    noise = noisy(300, seed=3)
    told = [
        {'rss': int(100 * MIB + per_minute * i * 0.2 / 60 + 20_000 * noise[i]), 'life': 1}
        for i in range(300)
    ]
    found, reason = judged({'rss': {'growth': limit}}, told)
    assert found == verdict, reason
    assert '/min' in reason


def test_growth_asks_for_as_many_samples_as_would_decide() -> None:
    def verdict(count: int, per_minute: float) -> tuple[str, str]:
        noise = noisy(count, seed=5)
        return judged({'rss': {'growth': '1 MiB/min'}}, [
            {'rss': int(per_minute * i * 0.2 / 60 + MIB * noise[i]), 'life': 1}
            for i in range(count)
        ])

    found, reason = verdict(100, 0.5 * MIB)
    assert found == 'INCONCLUSIVE'
    more = int(reason.split('about ')[1].split()[0])
    assert verdict(100 + 2 * more, 0.5 * MIB)[0] == 'PASS'


def test_growth_is_that_of_one_process_and_not_of_its_restart() -> None:
    flat = [{'rss': 500 * MIB, 'life': 1}] * 60 + [{'rss': 100 * MIB, 'life': 2}] * 30
    assert judged({'rss': {'growth': '1 MiB/min'}}, flat)[0] == 'PASS'
    short = [{'rss': 100 * MIB, 'life': i // 20} for i in range(100)]
    found, reason = judged({'rss': {'growth': '1 MiB/min'}}, short)
    assert found == 'INCONCLUSIVE'
    assert '20 samples in the longest of 5 lives' in reason


def test_a_trend_of_few_independent_samples_decides_nothing() -> None:
    wanders = np.cumsum(noisy(40, seed=4)) * 50_000
    told = [{'rss': int(100 * MIB + value), 'life': 1} for value in wanders]
    found, reason = judged({'rss': {'growth': '1 GiB/min'}}, told)
    assert found == 'INCONCLUSIVE'
    assert 'more would decide' in reason
    longer = np.cumsum(noisy(1200, seed=4)) * 50_000
    told = [{'rss': int(1000 * MIB + value), 'life': 1} for value in longer]
    assert judged({'rss': {'growth': '1 GiB/min'}}, told)[0] == 'PASS'


GONE = {'absent': 'no process of it is alive'}


def test_a_process_that_dies_is_not_judged_by_the_time_before() -> None:
    lives = [{'rss': 100 * MIB, 'cpu': 0.1, 'life': 1}] * 100
    limits = {'rss': {'max': '1 GiB'}, 'cpu': {'p50': '50 %'}}
    seen = observed(60.0)
    found = verdicts(spec_of({'it': limits}), [journal([*lives, GONE])], seen)
    assert {one for one, _ in found.values()} == {'INCONCLUSIVE'}
    assert all('gone for 40 s of 60 s, the first time after 20 s' in why
               for _, why in found.values())
    # A short restart leaves enough, and is said.
    back = [*lives, GONE, {'rss': 100 * MIB, 'cpu': 0.1, 'life': 2}]
    found = verdicts(spec_of({'it': limits}), [journal(back)], observed(21.0))
    assert {one for one, _ in found.values()} == {'PASS'}
    assert all('gone for 200 ms' in why for _, why in found.values())
    # What it broke before it died is broken.
    over = {'rss': {'max': '1 MiB'}, 'cpu': {'p50': '5 %'}}
    found = verdicts(spec_of({'it': over}), [journal([*lives, GONE])], seen)
    assert {one for one, _ in found.values()} == {'FAIL'}


def test_a_process_that_may_exit_is_judged_while_it_lives() -> None:
    spec = TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '60 s',
        'system': {'processes': [{'name': 'it', 'command': ['true'], 'may_exit': True}]},
        'resources': {'it': {'rss': {'max': '1 GiB'}}}})
    told = [*[{'rss': 100 * MIB, 'life': 1}] * 100, GONE]
    found, reason = verdicts(spec, [journal(told)])['it.rss.max']
    assert found == 'PASS'
    assert 'gone for 40 s' in reason


def test_descriptors_that_leak_grow_too() -> None:
    told = [{'open_files': 10 + i // 5, 'life': 1} for i in range(100)]
    assert judged({'open_files': {'growth': '10 /min'}}, told)[0] == 'FAIL'
    still = [{'open_files': 10, 'life': 1}] * 100
    assert judged({'open_files': {'growth': '10 /min'}}, still)[0] == 'PASS'


@pytest.mark.parametrize('limits,entry,worse,text', [
    ({'cpu': {'max': '150 %'}}, {'cpu': 1.2}, {'cpu': 1.7}, '170 %'),
    ({'rss': {'max': '500 MiB'}}, {'rss': 400 * MIB}, {'rss': 501 * MIB}, '501 MiB'),
    ({'threads': {'max': 40}}, {'threads': 40}, {'threads': 41}, '41 threads'),
    ({'open_files': {'max': 100}}, {'open_files': 100}, {'open_files': 101}, '101 files'),
])
def test_one_sample_above_a_maximum_fails(
    limits: dict[str, Any], entry: dict[str, Any], worse: dict[str, Any], text: str
) -> None:
    assert judged(limits, [entry] * 50)[0] == 'PASS'
    found, reason = judged(limits, [*[entry] * 50, worse, *[entry] * 50])
    assert found == 'FAIL'
    assert text in reason


@pytest.mark.parametrize('key,limit,good,bad,text', [
    ('temperature', '85 degC', 60.0, 90.5, '90.5 degC (cpu-thermal)'),
    ('gpu', '90 %', 0.5, 0.95, '95 %'),
    ('gpu_memory', '4 GiB', 2**31, 2**33, '8 GiB'),
    ('gpu_temperature', '80 degC', 60, 81, '81 degC'),
    ('power', '15 W', 4.5, 15.5, '15.5 W'),
])
def test_the_machine(key: str, limit: str, good: float, bad: float, text: str) -> None:
    of = {'of': {'temperature': 'cpu-thermal'}}
    fine = [{key: good, **of}] * 20
    assert judged({key: {'max': limit}}, fine, 'machine')[0] == 'PASS'
    found, reason = judged({key: {'max': limit}}, [*fine, {key: bad, **of}], 'machine')
    assert found == 'FAIL'
    assert text in reason


def test_quantiles_are_decided_by_bounds_and_correlation_counts() -> None:
    free = 0.5 + 0.1 * noisy(600)
    limits = {'cpu': {'p95': '80 %'}}
    assert judged(limits, [{'cpu': value} for value in free.tolist()])[0] == 'PASS'
    assert judged(limits, [{'cpu': value + 0.4} for value in free.tolist()])[0] == 'FAIL'
    assert judged(limits, [{'cpu': 0.5}] * 20)[0] == 'INCONCLUSIVE'
    slow = 0.7 + 0.2 * series(np.random.default_rng(2), 600, 0.98, 1)[0] / 5
    _, reason = judged(limits, [{'cpu': value} for value in slow.tolist()])
    assert 'independent ones' in reason


def test_nothing_never_passes_and_says_why() -> None:
    limits = {'rss': {'max': '1 GiB', 'p95': '1 GiB', 'growth': '1 MiB/min'}}
    for told, text in (
        ([{'absent': 'no process of it is alive'}], 'no process of it is alive'),
        ([{'cpu': None, 'rss': None}], 'no samples of what it uses'),
    ):
        found = verdicts(spec_of({'it': limits}), [journal(told)])
        assert {verdict for verdict, _ in found.values()} == {'INCONCLUSIVE'}
        assert all(text in reason for _, reason in found.values())
    found = verdicts(spec_of({'it': limits}), [])
    assert {verdict for verdict, _ in found.values()} == {'INCONCLUSIVE'}
    why = 'not available: pynvml is not installed; no tegrastats'
    assert judged({'gpu': {'max': '90 %'}}, [{'gpu': why}], 'machine') == ('INCONCLUSIVE', why)


def test_how_samples_were_drained_makes_no_difference() -> None:
    told = [{'cpu': 0.5, 'rss': 100 * MIB + 4096 * i, 'life': 1} for i in range(100)]
    spec = spec_of({'it': {'cpu': {'p50': '80 %'}, 'rss': {'growth': '1 MiB/min'}}})
    whole = journal(told)
    assert verdicts(spec, [whole]) == verdicts(spec, split(whole, [1, 7, 50]))


def test_readings_are_shown_in_their_unit() -> None:
    assert format_reading(1.5, 'ratio') == '150 %'
    assert format_reading(MIB, 'B/min') == '1 MiB/min'
    assert format_reading(-3 * 2**30, 'B') == '-3 GiB'
    assert format_reading(12, 'B') == '12 B'
    assert format_reading(61.25, 'degC') == '61.25 degC'


# The spec.

def problems(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / 'x.qa.yaml'
    path.write_text('robot_qa: 1\nname: x\nduration: 30 s\n' + text)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    return [str(one).removeprefix(f'{path}:') for one in caught.value.problems]


def test_what_is_wrong_is_said_with_its_place_all_at_once(tmp_path: Path) -> None:
    found = problems("""\
system: {processes: [{name: detector, command: [a]}]}
resources:
  detector: {cpu: {p95: 80}, rss: {max: 5 MiB, groth: 1 MiB/min}}
  machine: {temperature: {max: 85}, power: {max: 15 V}, gpu: {max: 180 %}}
  c: {every: 2 ms, threads: {growth: 1 MiB/min}}
  d: {}
""", tmp_path)
    assert [one.partition(' ')[0] for one in found] == [
        '6:25:', '6:48:', '7:32:', '7:50:', '7:68:', '8:14:', '8:38:', '9:6:']
    assert 'did you mean "growth"' in found[1]
    assert '85 degC' in found[2]
    assert 'at least 200 ms' in found[5]


def test_names_are_those_of_processes(tmp_path: Path) -> None:
    found = problems("""\
system: {processes: [{name: detector, command: [a]}]}
resources:
  detecter: {cpu: {p95: 80 %}}
  detector: {temperature: {max: 85 degC}, match: x}
  machine: {cpu: {max: 80 %}}
  other: {every: 1 s, match: foo, rss: {growth: 1 kB/s}}
""", tmp_path)
    assert found[0].startswith(
        '6:13: the run starts no process "detecter"; did you mean "detector"')
    assert 'match' in found[0]
    assert '"machine"' in found[1] and 'cpu, rss' in found[1]
    assert found[2].startswith('7:50: the run starts "detector" itself')
    assert found[3].startswith('8:18: "cpu" belongs to a process')
    assert '40 samples, 40 s, and the run is over after 30 s' in found[4]


# What the probe reads.

class PlannedProcess:
    """Stands for psutil.Process: what each pid has used is planned in ``table``."""

    table: dict[int, tuple[float, float]] = {}  # noqa: RUF012  (set anew by each test)

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._used()

    def _used(self) -> tuple[float, float]:
        if self.pid not in self.table:
            raise psutil.NoSuchProcess(self.pid)
        return self.table[self.pid]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlannedProcess) and self.pid == other.pid

    def __hash__(self) -> int:
        return self.pid

    def oneshot(self) -> Any:
        return nullcontext()

    def status(self) -> str:
        return 'running'

    def create_time(self) -> float:
        return time.time() + self.pid

    def cpu_times(self) -> Any:
        own, children = self._used()
        return SimpleNamespace(user=own, system=0.0, children_user=children, children_system=0.0)

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=1000)

    def num_threads(self) -> int:
        return 1

    def num_fds(self) -> int:
        return 3


@pytest.mark.parametrize('look_every', [1, 2, 3, 5, 50])
@pytest.mark.parametrize('waits', [True, False])
def test_what_a_child_used_is_counted_once_whoever_saw_it(
    look_every: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent uses 10 %; its child lives from the 11th to the 19th sample, at 50 %.

    Another child uses as much and is only heard of when the parent has waited for it.
    """
    table: dict[int, tuple[float, float]] = {}
    monkeypatch.setattr(PlannedProcess, 'table', table)
    monkeypatch.setattr('robot_qa.probes.resources.psutil.Process', PlannedProcess)
    tree, used = Tree(), 0.0
    for step in range(130):
        childs = 0.1 * max(0, min(step, 19) - 10)
        waited_for = (0.9 if waits and step >= 20 else 0.0) + (0.9 if step >= 90 else 0.0)
        table[1] = (0.02 * step, waited_for)
        table.pop(2, None)
        if 10 < step < 20:
            table[2] = (childs, 0.0)
        if step % look_every == 0:
            tree.look(list(table), 0.2 * step)
        entry = tree.sample(0.2 * step)
        assert entry is not None
        used += 0.2 * (entry['cpu'] or 0.0)
    unseen = look_every == 50 and not waits
    true = 0.02 * 129 + 0.9 + (0.0 if unseen else 0.9)
    assert used == pytest.approx(true, abs=0.02 if waits else 0.2)


def test_cpu_time_is_conserved_when_children_come_and_go() -> None:
    """A parent starts children that each burn and end; all of it is counted, none of it twice."""
    burn = 'import time; e=time.process_time()+0.15\nwhile time.process_time()<e: pass'
    code = (
        'import subprocess, sys\n'
        f'for _ in range(6): subprocess.run([sys.executable, "-S", "-c", {burn!r}])\n'
        'sys.stdin.read()\n'
    )
    parent = subprocess.Popen([sys.executable, '-S', '-c', code], stdin=subprocess.PIPE)
    try:
        tree, used, last = Tree(), 0.0, None
        process = psutil.Process(parent.pid)
        deadline = time.monotonic() + 20.0
        settled = None
        while time.monotonic() < deadline:
            now = time.monotonic()
            if tree.stale(now):
                children = process.children(recursive=True)
                tree.look([parent.pid, *(child.pid for child in children)], now)
            entry = tree.sample(now)
            assert entry is not None
            if entry['cpu'] is not None and last is not None:
                used += entry['cpu'] * (now - last)
            last = now
            times = process.cpu_times()
            if times.children_user + times.children_system > 0.85 and not process.children():
                settled = settled or now
                if now - settled > 1.5:
                    break
            time.sleep(0.04)
        times = process.cpu_times()
        true = sum(times[:4])
        assert true > 0.9
        assert used == pytest.approx(true, abs=0.25)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdin is not None
        parent.stdin.close()


def test_a_thermal_zone_is_read_and_a_false_one_is_not(tmp_path: Path) -> None:
    zones = {'cpu-thermal': '45123', 'PMIC-Die': '100000', 'gpu-thermal': '51000', 'x': '-256000'}
    for index, (name, value) in enumerate(zones.items()):
        zone = tmp_path / f'thermal_zone{index}'
        zone.mkdir()
        (zone / 'type').write_text(f'{name}\n')
        (zone / 'temp').write_text(f'{value}\n')
    machine = Machine(['temperature'], tmp_path)
    assert machine.read() == {'temperature': 51.0, 'of': {'temperature': 'gpu-thermal'}}
    (tmp_path / 'thermal_zone2' / 'temp').write_text('broken\n')
    assert machine.read()['temperature'] == 45.123
    machine.close()


def test_what_the_machine_lacks_is_said_and_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setitem(sys.modules, 'pynvml', None)
    machine = Machine(['temperature', 'gpu', 'power'], tmp_path)
    found = machine.read()
    machine.close()
    assert found == {
        'temperature': f'not available: {tmp_path} has no thermal zone; no tegrastats',
        'gpu': 'not available: pynvml is not installed; no tegrastats',
        'power': 'not available: pynvml is not installed; no tegrastats',
    }


TEGRASTATS = (
    '11-21-2026 12:00:00 RAM 4722/30536MB (lfb 4x4MB) SWAP 0/15268MB (cached 0MB) '
    'CPU [2%@729,off,off] GR3D_FREQ 37%@[305,0] cpu@48.2C tboard@38C soc2@45.1C PMIC@100C '
    'gpu@46.5C tj@48.9C cv0@-256C VDD_GPU_SOC 2403mW/2403mW VIN_SYS_5V0 4138mW/4138mW '
    'VDD_IN 9532mW/9500mW'
)


def test_tegrastats_is_read_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / 'tegrastats'
    program.write_text(f'#!/bin/sh\nwhile :; do echo "{TEGRASTATS}"; /bin/sleep 0.02; done\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setitem(sys.modules, 'pynvml', None)
    wanted = ['temperature', 'gpu', 'gpu_memory', 'gpu_temperature', 'power']
    machine = Machine(wanted, tmp_path)
    deadline = time.monotonic() + 5.0
    while isinstance((found := machine.read())['gpu'], str) and time.monotonic() < deadline:
        time.sleep(0.01)
    (child,) = psutil.Process().children()
    machine.close()
    assert not child.is_running()
    assert found['of'] == {'temperature': 'tj'}
    assert (found['temperature'], found['gpu'], found['gpu_temperature'], found['power']) == (
        48.9, 0.37, 46.5, 9.532)
    assert found['gpu_memory'].endswith('a Jetson has no memory of the GPU alone')


def test_tegrastats_tells_what_the_nvml_of_a_jetson_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / 'tegrastats'
    program.write_text(f'#!/bin/sh\nwhile :; do echo "{TEGRASTATS}"; /bin/sleep 0.02; done\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setitem(sys.modules, 'pynvml', FakeNvml())
    machine = Machine(['gpu', 'power'], tmp_path)
    deadline = time.monotonic() + 5.0
    while isinstance((found := machine.read())['power'], str) and time.monotonic() < deadline:
        time.sleep(0.01)
    machine.close()
    assert found == {'gpu': 0.8, 'power': 9.532}


def test_tegrastats_that_cannot_run_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / 'tegrastats'
    program.write_text('#!/no/such/shell\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    assert Tegrastats().lacking.startswith('tegrastats: No such file')


class FakeNvml:
    """Two GPUs, of which one does not tell its power."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.open = False

    def nvmlInit(self) -> None:  # noqa: N802
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, at: int) -> int:  # noqa: N802
        return at

    def nvmlDeviceGetUtilizationRates(self, at: int) -> Any:  # noqa: N802
        return type('Rates', (), {'gpu': (30, 80)[at]})

    def nvmlDeviceGetMemoryInfo(self, at: int) -> Any:  # noqa: N802
        return type('Memory', (), {'used': (1, 2)[at] * 2**30})

    def nvmlDeviceGetTemperature(self, at: int, _: int) -> int:  # noqa: N802
        return (50, 40)[at]

    def nvmlDeviceGetPowerUsage(self, at: int) -> int:  # noqa: N802
        if at:
            raise self.NVMLError('Not Supported')
        return 12_000


def test_nvml_is_read_and_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, 'pynvml', nvml)
    monkeypatch.setenv('PATH', str(tmp_path))
    machine = Machine(['gpu', 'gpu_memory', 'gpu_temperature', 'power'], tmp_path)
    assert nvml.open
    assert machine.read() == {
        'gpu': 0.8, 'gpu_memory': 3 * 2**30, 'gpu_temperature': 50,
        'power': 'not available: NVML: Not Supported; no tegrastats',
    }
    machine.close()
    assert not nvml.open


# Real processes.

FAULTY = {
    'leak': 'kept = []\nwhile True: kept.append(b"x" * 200_000); time.sleep(0.02)',
    'burn': 'while True: pass',
    'files': 'kept = []\nwhile True: kept.append(open("/dev/null")); time.sleep(0.01)',
    'threads': 'import threading\nfor _ in range(20): threading.Thread(target=time.sleep, '
               'args=(60,), daemon=True).start()\ntime.sleep(60)',
    'quiet': 'while True: time.sleep(0.02)',
}
LIMITS = {
    'cpu': {'p50': '5 %', 'max': '300 %'}, 'rss': {'max': '400 MiB', 'growth': '60 MiB/min'},
    'threads': {'max': 10}, 'open_files': {'max': 60, 'growth': '120 /min'},
}
RED = {
    'leak': {'rss.growth'}, 'burn': {'cpu.p50'}, 'files': {'open_files.max', 'open_files.growth'},
    'threads': {'threads.max'}, 'quiet': set[str](),
}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / 'logs') as processes:
        for name, code in FAULTY.items():
            processes.start(ProcessSpec(
                name, (sys.executable, '-S', '-u', '-c', f'import time\n{code}'), None,
                dict(os.environ)))
        yield processes


def watched(
    spec: TestSpec, processes: Processes | None, every: int, seconds: float
) -> tuple[list[Batch], float]:
    """Sample as a live run does, but more often; return the CPU time of a sample as well."""
    fast = {name: one.model_copy(update={'every': every}) for name, one in spec.resources.items()}
    probe = ResourceProbe(fast, processes.pids if processes else None)
    batches: list[Batch] = []
    samples, spent = 0, 0.0
    try:
        probe.begin()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.thread_time()
            found = probe.drain()
            spent += time.thread_time() - begun
            samples += len(found)
            batches += found
            time.sleep(every / S / 4)
    finally:
        probe.close()
    return batches, spent / max(1, samples)


def test_each_fault_of_a_process_is_seen_and_the_quiet_one_passes(
    started: Processes, tmp_path: Path
) -> None:
    spec = spec_of(dict.fromkeys(FAULTY, LIMITS))
    batches, _ = watched(spec, started, 60 * MS, 5.0)
    found = verdicts(spec, batches)
    for name in FAULTY:
        mine = {
            check.removeprefix(f'{name}.'): verdict for check, verdict in found.items()
            if check.startswith(f'{name}.')
        }
        failed = {check for check, (verdict, _) in mine.items() if verdict == 'FAIL'}
        assert failed == RED[name], mine
        if name == 'quiet':
            assert {verdict for verdict, _ in mine.values()} == {'PASS'}, mine

    recorder = Recorder(tmp_path / 'run.mcap', TypeStore())
    for one in batches:
        recorder.write(one)
    recorder.close({'start_ns': START, 'end_ns': START + 5 * S, 'overruns': {}, 'notes': {}})
    probe = BagProbe(tmp_path / 'run.mcap', sorted({one.topic for one in batches}))
    read = []
    while not probe.done:
        read += probe.drain()
    probe.close()
    assert verdicts(spec, read) == found, 'a recording gives the same verdicts'


def test_a_process_that_dies_and_comes_again_has_another_life(started: Processes) -> None:
    spec = spec_of({'quiet': {'threads': {'max': 5}}})
    fast = {'quiet': spec.resources['quiet'].model_copy(update={'every': 20 * MS})}
    probe = ResourceProbe(fast, started.pids)
    probe.begin()
    seen: list[dict[str, Any]] = []

    def until(wanted: str, value: Any) -> None:
        deadline = time.monotonic() + 5.0
        while not any(entry.get(wanted) == value for entry in seen):
            assert time.monotonic() < deadline, seen[-3:]
            for one in probe.drain():
                seen.extend(entry for _, entry in entries(one))
            time.sleep(0.01)

    until('life', 1)
    started.stop('quiet')
    until('absent', 'no process of quiet is alive')
    code = f'import time\n{FAULTY["threads"]}'
    started.start(ProcessSpec(
        'quiet', (sys.executable, '-S', '-c', code), None, dict(os.environ)))
    until('life', 2)
    until('threads', 21)
    probe.close()


def test_a_process_that_runs_already_is_found_by_its_command() -> None:
    marker = f'robot-qa-{os.getpid()}'
    code = (
        'import subprocess, sys, time\n'
        'subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])\n'
        'time.sleep(60)'
    )
    found = subprocess.Popen([sys.executable, '-S', '-c', code, marker])
    spec = TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '9 s', 'resources': {
            'it': {'match': marker, 'threads': {'max': 50}},
            'nobody': {'match': f'{marker}-not', 'threads': {'max': 50}}},
    })
    try:
        probe = ResourceProbe(spec.resources)
        assert probe.missing() == [f'a process whose command contains "{marker}-not"']
        probe.close()
        batches, _ = watched(spec, None, 20 * MS, 1.6)
        told = [entry for one in batches for _, entry in entries(one) if one.topic.endswith('/it')]
        assert max(entry['processes'] for entry in told) == 2, 'its child belongs to it'
        result = verdicts(spec, batches)
        assert result['it.threads.max'][0] == 'PASS'
        assert result['nobody.threads.max'][0] == 'INCONCLUSIVE'
        assert f'{marker}-not' in result['nobody.threads.max'][1]
    finally:
        for child in psutil.Process(found.pid).children():
            child.kill()
        found.kill()
        found.wait()


def test_a_process_that_nobody_finds_is_named() -> None:
    probe = ResourceProbe({'ghost': Resource.model_validate(
        {'match': 'no_such_robot_process', 'rss': {'max': '1 GiB'}})})
    probe.begin()
    ((_, entry),) = [one for batch in probe.drain() for one in entries(batch)]
    assert entry == {
        'absent': 'there is no process whose command contains "no_such_robot_process"'}


def test_a_sample_costs_little(started: Processes) -> None:
    spec = spec_of(dict.fromkeys(FAULTY, LIMITS))
    _, spent = watched(spec, started, 50 * MS, 1.5)
    assert spent < 2e-3, f'{1e6 * spent:.0f} us of CPU a sample; five processes at 5 Hz: 5 %'


@pytest.mark.live
def test_a_run_and_its_recording_give_the_same_verdicts(tmp_path: Path) -> None:
    spec = tmp_path / 'x.qa.yaml'
    script = tmp_path / 'files.py'
    script.write_text(f'import time\n{FAULTY["files"]}')
    spec.write_text("""\
robot_qa: 1
name: resources
duration: 3 s
system: {processes: [{name: files, command: [python3, files.py], cwd: .}]}
resources:
  files: {cpu: {max: 250 %}, rss: {max: 1 GiB}, open_files: {max: 50}}
  machine: {gpu: {max: 100 %}}
""")
    command = [sys.executable, '-m', 'robot_qa.cli']
    env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:/usr/bin:/bin'}
    for words in (
        ('run', str(spec), '--record', '--out', str(tmp_path / 'a')),
        ('check', str(spec), str(tmp_path / 'a/recording.mcap'), '--out', str(tmp_path / 'b')),
    ):
        subprocess.run([*command, *words, '--quiet'], timeout=60, check=False, env=env)
    live, offline = (
        {check['name']: check['verdict']
         for check in json.loads((tmp_path / one / 'report.json').read_text())['checks']
         if check['name'].startswith('resources.')}
        for one in ('a', 'b')
    )
    assert live['resources.files.open_files.max'] == 'FAIL'
    assert live['resources.files.rss.max'] == live['resources.files.cpu.max'] == 'PASS'
    assert offline == live
