"""What a model node uses: what it keeps, what it publishes, what it costs, what it drops."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robot_qa.domains import claim_domain
from robot_qa.instrument import Input, StageTimes, stage
from samples import MS

STAMP = SimpleNamespace(sec=12, nanosec=340_000_000)


@pytest.fixture
def sent() -> Iterator[tuple[StageTimes, list[Input]]]:
    found: list[Input] = []
    with StageTimes(found.append) as times:
        yield times, found


def all_of(times: StageTimes, found: list[Input]) -> list[Input]:
    times.close()
    return found


def test_stages_of_an_input_are_told_apart(sent: tuple[StageTimes, list[Input]]) -> None:
    times, found = sent
    with times.input(STAMP, time.time_ns() - 50 * MS):
        with stage('preprocess'):
            time.sleep(0.002)
        with stage('inference'):
            time.sleep(0.02)
        for _ in range(2):
            with stage('publishing'):
                time.sleep(0.001)
    with stage('between'):
        pass
    (one,) = all_of(times, found)
    values = one.values
    assert one.stamp is STAMP
    assert 'stage.between' not in values, 'it was over'
    assert 2 * MS <= values['stage.preprocess'] < values['stage.inference']
    assert values['stage.inference'] >= 20 * MS
    assert values['stage.publishing'] >= 2 * MS, 'both of them'
    assert 50 * MS <= values['queueing'] < 500 * MS
    stages = sum(ns for key, ns in values.items() if key.startswith('stage.'))
    assert stages <= values['total'] < stages + 5 * MS
    assert (values['input'], values['dropped']) == (1, 0)


def test_the_first_inference_is_repeated_by_every_message(
    sent: tuple[StageTimes, list[Input]]
) -> None:
    times, found = sent
    for seconds in (0.03, 0.001, 0.001):
        with times.input(STAMP), stage('inference'):
            time.sleep(seconds)
    times.model_loaded()
    with times.input(STAMP), stage('inference'):
        time.sleep(0.01)
    values = [one.values for one in all_of(times, found)]
    assert [one['input'] for one in values] == [1, 2, 3, 1]
    assert values[0]['cold_start'] == values[0]['stage.inference'] >= 30 * MS
    assert values[1]['cold_start'] == values[2]['cold_start'] == values[0]['cold_start']
    assert values[3]['cold_start'] == values[3]['stage.inference'] != values[0]['cold_start']
    assert 'queueing' not in values[0], 'what is not known is missing, and not zero'


def test_an_input_that_failed_is_no_cold_start(sent: tuple[StageTimes, list[Input]]) -> None:
    times, found = sent
    with pytest.raises(ValueError), times.input(STAMP), stage('preprocess'):
        raise ValueError('no such encoding')
    with times.input(STAMP), stage('inference'):
        pass
    bad, good = all_of(times, found)
    assert bad.error == 'ValueError: no such encoding'
    assert (bad.values['input'], 'cold_start' in bad.values) == (0, False)
    assert (good.error, good.values['input']) == ('', 1)


def test_a_reception_of_zero_is_not_known(sent: tuple[StageTimes, list[Input]]) -> None:
    times, found = sent
    with times.input(STAMP, 0):
        pass
    assert all_of(times, found)[0].queueing_ns is None


def test_a_decorated_function_is_timed_at_every_call(
    sent: tuple[StageTimes, list[Input]]
) -> None:
    @stage('inference')
    def model(depth: int) -> int:
        """Count down."""
        return depth if depth == 0 else model(depth - 1)

    assert model.__doc__ == 'Count down.'
    assert model(2) == 0, 'outside of an input it only does what it does'
    times, found = sent
    with times.input(STAMP):
        model(2)
    (one,) = all_of(times, found)
    assert [name for name, _ in one.spans] == ['inference'] * 3


def test_what_only_returns_work_cannot_be_decorated() -> None:
    async def later() -> None: ...

    def some() -> Iterator[int]:
        yield 1

    for function in (later, some):
        with pytest.raises(TypeError, match='with stage'):
            stage('inference')(function)


def test_a_gpu_is_waited_for_before_the_end_is_noted(
    sent: tuple[StageTimes, list[Input]]
) -> None:
    times, found = sent
    with times.input(STAMP), stage('inference', synchronize=lambda: time.sleep(0.01)):
        pass
    assert all_of(times, found)[0].values['stage.inference'] >= 10 * MS


def test_inputs_of_two_threads_do_not_mix(sent: tuple[StageTimes, list[Input]]) -> None:
    times, found = sent
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        for _ in range(50):
            with times.input(name):
                barrier.wait()
                with stage(name):
                    pass

    threads = [threading.Thread(target=work, args=(name,)) for name in ('one', 'two')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = all_of(times, found)
    assert all([name for name, _ in one.spans] == [one.stamp] for one in ended)
    assert len(ended) + times.dropped == 100
    assert len({one.count for one in ended}) == len(ended)


def test_a_model_never_waits_for_a_middleware_that_hangs() -> None:
    free = threading.Event()
    found: list[Input] = []

    def hang(one: Input) -> None:
        free.wait()
        found.append(one)

    times = StageTimes(hang, queue=4)
    begun = time.monotonic()
    for _ in range(20):
        with times.input(STAMP), stage('inference'):
            pass
    assert time.monotonic() - begun < 0.5
    assert 15 <= times.dropped <= 16, 'four wait, and one is being sent'
    free.set()
    deadline = time.monotonic() + 5.0
    while len(found) < 20 - times.dropped and time.monotonic() < deadline:
        time.sleep(0.005)
    with times.input(STAMP):
        pass
    times.close()
    assert found[-1].values['dropped'] == times.dropped, 'and the drops are told'


def test_what_the_middleware_refuses_counts_as_dropped_and_ends_nothing() -> None:
    calls = []

    def refuse(one: Input) -> None:
        calls.append(one)
        if len(calls) < 3:
            raise RuntimeError('the context is gone')

    times = StageTimes(refuse)
    for _ in range(3):
        with times.input(STAMP):
            pass
        deadline = time.monotonic() + 5.0
        while times._waiting.qsize() and time.monotonic() < deadline:
            time.sleep(0.001)
    times.close()
    assert len(calls) == 3
    assert times.dropped == 2


def test_a_stage_costs_less_than_twenty_microseconds(
    sent: tuple[StageTimes, list[Input]]
) -> None:
    times, _ = sent
    spans = []
    with times.input(STAMP):
        for _ in range(2000):
            begun = time.perf_counter_ns()
            with stage('inference'):
                pass
            spans.append(time.perf_counter_ns() - begun)
    assert sorted(spans)[1000] < 20_000


def test_a_library_may_say_stage_where_there_is_no_ros() -> None:
    code = (
        'import sys\n'
        'for name in ("rclpy", "numpy", "pydantic", "diagnostic_msgs"): sys.modules[name] = None\n'
        'from robot_qa.instrument import stage\n'
        'with stage("inference"): pass\n'
    )
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, '-c', code], check=True, cwd=root)


@pytest.mark.live
def test_a_node_publishes_what_the_convention_says() -> None:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    from robot_qa.instrument import stage_times

    with ExitStack() as stack:
        ros = Context()
        rclpy.init(context=ros, domain_id=stack.enter_context(claim_domain()).id)
        stack.callback(rclpy.try_shutdown, context=ros)
        node = rclpy.create_node('detector', namespace='front', context=ros)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=ros)
        executor.add_node(node)
        got: list[Any] = []
        node.create_subscription(DiagnosticArray, '/front/detector/stages', got.append, 10)
        times = stack.enter_context(stage_times(node, device='cpu'))

        def until(count: int) -> None:
            deadline = time.monotonic() + 10.0
            while len(got) < count:
                assert time.monotonic() < deadline, 'waited in vain'
                executor.spin_once(timeout_sec=0.05)

        deadline = time.monotonic() + 10.0
        while not node.count_publishers('/front/detector/stages'):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with times.input(STAMP, time.time_ns()):
            with stage('inference'):
                pass
        until(1)
        with pytest.raises(ValueError), times.input(STAMP):
            raise ValueError('bad')
        until(2)

        first, second = (one.status[0] for one in got)
        assert (got[0].header.stamp.sec, got[0].header.stamp.nanosec) == (12, 340_000_000)
        assert (first.name, first.hardware_id) == ('/front/detector', 'cpu')
        assert first.level == DiagnosticStatus.OK
        values = {one.key: int(one.value) for one in first.values}
        assert set(values) == {
            'input', 'queueing', 'stage.inference', 'total', 'cold_start', 'dropped'}
        assert (second.level, second.message) == (DiagnosticStatus.ERROR, 'ValueError: bad')
