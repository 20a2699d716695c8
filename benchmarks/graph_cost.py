"""What watching the graph costs: a system of 30 nodes and 60 topics, all checks on all of it.

    python -m benchmarks.graph_cost [--seconds 10] [--rounds 3]

One process watches in turn without any check, with every check on the graph, and with a parameter
of every node on top. What counts is its CPU time, user and system, of all threads, as a share of
one core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from robot_qa.domains import claim_domain
from robot_qa.processes import child_environment

PROCESSES, NODES, TOPICS = 3, 30, 60
TOPICS_PER_NODE = TOPICS // NODES
GOAL = 0.02
PATIENCE_S = 30.0
HEAD = 'robot_qa: 1\nname: graph cost\nduration: 1 h\n'
NOTHING = HEAD + 'topics: {/none: {expect_count: 0}}\n'
NODE = '  /node_{}: {{alive: true, restarts: {{max: 0}}{}}}\n'
PARAMETER = ', parameters: {use_sim_time: {equals: false}}'
TOPIC = '  {}: {{publishers: 1, subscribers: {{min: 1}}, qos_compatible: true}}\n'


def topic(node: int, number: int) -> str:
    return f'/topic_{node % NODES}_{number}'


def spec(parameters: bool) -> str:
    """Return a spec with every check on the graph."""
    nodes = ''.join(NODE.format(k, PARAMETER if parameters else '') for k in range(NODES))
    topics = ''.join(
        TOPIC.format(topic(node, number))
        for node in range(NODES) for number in range(TOPICS_PER_NODE)
    )
    graph = 'graph: {unique_names: true, qos_compatible: true}\n'
    return f'{HEAD}{graph}nodes:\n{nodes}topics:\n{topics}'


def be_nodes(share: int) -> None:
    """Make one process's share of the nodes, and keep them until stdin is closed."""
    import threading

    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from std_msgs.msg import String

    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    for name in range(share, NODES, PROCESSES):
        node = rclpy.create_node(f'node_{name}')
        for number in range(TOPICS_PER_NODE):
            node.create_publisher(String, topic(name, number), 10)
            node.create_subscription(String, topic(name + 1, number), lambda _: None, 10)
        executor.add_node(node)
    threading.Thread(target=lambda: (sys.stdin.read(), rclpy.shutdown()), daemon=True).start()
    try:
        executor.spin()
    except ExternalShutdownException:
        return


@contextmanager
def system(domain: int) -> Iterator[None]:
    """Let the nodes be there while inside."""
    processes = [
        Popen([sys.executable, '-m', 'benchmarks.graph_cost', '--share', str(share)], stdin=PIPE,
              env=child_environment(os.environ, domain, {}), cwd=Path(__file__).parent.parent)
        for share in range(PROCESSES)
    ]
    try:
        yield
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            process.wait(30)


def watch(live: Any, text: str, seconds: float, folder: Path) -> tuple[float, int, int]:
    """Watch as a live run does; return the share of a core, the checks and those that passed."""
    from robot_qa.messages.typestore import TypeStore
    from robot_qa.panel import Panel
    from robot_qa.probes.graph import GraphProbe
    from robot_qa.probes.live import POLL_PERIOD_S
    from robot_qa.spec.graph import graph_interest
    from robot_qa.spec.loader import load_spec

    path = folder / 'graph.qa.yaml'
    path.write_text(text)
    loaded = load_spec(path)
    panel = Panel(loaded, TypeStore())
    interest = graph_interest(loaded.spec)
    probe = None if interest is None else GraphProbe(live.node, interest)
    deadline = time.monotonic() + PATIENCE_S
    while probe is not None and probe.missing():
        if time.monotonic() > deadline:
            raise RuntimeError(f'still missing: {probe.missing()}')
        time.sleep(0.1)
    live.begin()
    if probe is not None:
        probe.begin()
    cpu, begun = time.process_time(), time.monotonic()
    shown = begun
    while time.monotonic() - begun < seconds:
        panel.update([*live.drain(), *(probe.drain() if probe else ())])
        if time.monotonic() - shown >= 1.0:
            shown += 1.0
            panel.results(live.observation(), final=False)
        time.sleep(POLL_PERIOD_S)
    cost = (time.process_time() - cpu) / (time.monotonic() - begun)
    results = panel.results(live.observation(), final=True)
    if probe is not None:
        probe.close()
    return cost, len(results), sum(result.verdict.value == 'PASS' for result in results)


def main(seconds: float, rounds: int) -> int:
    """Print the cost of each case; return 1 if the graph's is above the goal."""
    from robot_qa.probes.live import LiveProbe

    cases = {
        'without': NOTHING, 'graph': spec(parameters=False),
        'graph and parameters': spec(parameters=True),
    }
    costs: dict[str, list[float]] = {case: [] for case in cases}
    with claim_domain() as claim, tempfile.TemporaryDirectory() as folder, system(claim.id):
        live = LiveProbe([], claim.id)
        watch(live, cases['graph'], 3.0, Path(folder))
        for _ in range(rounds):
            for case, text in cases.items():
                cost, checks, passed = watch(live, text, seconds, Path(folder))
                costs[case].append(cost)
                print(f'  {case}: {100 * cost:.2f} %, {passed} of {checks} checks passed')
        live.close()
    without = statistics.median(costs['without'])
    print(f'{NODES} nodes, {TOPICS} topics; {rounds} x {seconds:g} s each, median share of a core')
    for case, found in costs.items():
        median = statistics.median(found)
        print(f'{case:22} {100 * median:6.2f} %   difference {100 * (median - without):6.2f} %')
    return int(statistics.median(costs['graph']) - without > GOAL)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--share', type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.share is not None:
        be_nodes(chosen.share)
    else:
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        sys.exit(main(chosen.seconds, chosen.rounds))
