from __future__ import annotations

import fcntl
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import robot_qa
from robot_qa import domains
from robot_qa.domains import claim_domain
from robot_qa.errors import SetupError

REPOSITORY = Path(robot_qa.__file__).parents[1]
ENV = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
CLAIM = """
import time
from robot_qa.domains import claim_domain
claim = claim_domain()
print(claim.id, flush=True)
time.sleep(60)
"""
SESSION = """
import os, sys, time
from pathlib import Path
from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec
claim = claim_domain()
processes = Processes(Path(sys.argv[1]), inherit_fd=claim.fileno())
command = ('sh', '-c', 'trap "" INT; echo ready; while :; do sleep 0.1; done')
pid = processes.start(ProcessSpec('stubborn', command, None, os.environ))
print(claim.id, pid, flush=True)
time.sleep(60)
"""
NODE = """
import rclpy, time
rclpy.init()
node = rclpy.create_node('robot_qa_test')
print('ready', flush=True)
time.sleep(60)
"""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f'not within {timeout_s} s: {what}'
        time.sleep(0.01)


def is_free(domain_id: int) -> bool:
    with open(domains.FOLDER / f'{domain_id}.lock', 'rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def python(script: str, *args: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', script, *args], env={**ENV, **env},
        stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(domains, 'FOLDER', tmp_path / 'domains')
    return tmp_path / 'domains'


@pytest.fixture
def three_ids(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> range:
    # Above those that runs claim and above the ports that systems hand out: nobody is there.
    monkeypatch.setattr(domains, 'IDS', range(221, 224))
    return domains.IDS


def test_parallel_runs_claim_different_domains() -> None:
    holders = [python(CLAIM) for _ in range(20)]
    try:
        ids = {int(line_of(holder)) for holder in holders}
        assert len(ids) == len(holders)
        assert ids <= set(range(1, 102))
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
    assert all(map(is_free, ids))


def test_all_taken(three_ids: range) -> None:
    claims = [claim_domain() for _ in three_ids]
    assert {claim.id for claim in claims} == set(three_ids)
    with pytest.raises(SetupError, match='all 3 ROS domain ids from 221 to 223 are taken'):
        claim_domain()
    claims[1].release()
    claims[1].release()
    with claim_domain() as claim:
        assert claim.id == claims[1].id
        claims[0].release()
        claims[2].release()
    with pytest.raises(SetupError, match='has been released'):
        claim.fileno()


@pytest.mark.parametrize('port', [0, 10, 12, 28])
def test_domain_of_a_participant_is_avoided(three_ids: range, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        participant.bind(('127.0.0.1', 7400 + 250 * 222 + port))
        with claim_domain() as first, claim_domain() as second:
            assert {first.id, second.id} == {221, 223}
            with pytest.raises(SetupError):
                claim_domain()


def test_children_do_not_inherit_the_claim(three_ids: range) -> None:
    claim = claim_domain()
    with subprocess.Popen(['sleep', '60'], close_fds=False) as child:
        claim.release()
        assert is_free(claim.id)
        child.kill()


def test_every_user_may_lock(own_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with claim_domain() as claim:
            assert own_folder.stat().st_mode & 0o7777 == 0o1777
            assert (own_folder / f'{claim.id}.lock').stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_unusable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, 'FOLDER', tmp_path / 'missing' / 'domains')
    with pytest.raises(SetupError, match='cannot create'):
        claim_domain()


def test_claim_outlives_a_killed_session_until_all_is_stopped(tmp_path: Path) -> None:
    with python(SESSION, str(tmp_path)) as session:
        domain_id, child = map(int, line_of(session).split())
        log = tmp_path / 'stubborn.log'
        wait_until(lambda: log.read_text() == 'ready\n', 'the child ignores SIGINT')
        session.kill()
        session.wait()
        # Were it free before the child's end, the next run would meet the child.
        wait_until(lambda: is_free(domain_id), 'the domain is free', 60.0)
        assert not Path(f'/proc/{child}').exists()


@pytest.mark.live
@pytest.mark.skipif(
    importlib.util.find_spec('rclpy') is None, reason='rclpy is not installed')
def test_domain_of_a_node_is_avoided(three_ids: range, tmp_path: Path) -> None:
    ros = {'ROS_DOMAIN_ID': '222', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
           'ROS_LOG_DIR': str(tmp_path)}
    with python(NODE, **ros) as node:
        assert line_of(node) == 'ready\n'
        with claim_domain() as first, claim_domain() as second:
            assert {first.id, second.id} == {221, 223}
        node.send_signal(signal.SIGINT)
