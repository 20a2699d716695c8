from __future__ import annotations

import importlib.util
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import robot_qa
from robot_qa.domains import claim_domain
from robot_qa.errors import ProcessError
from robot_qa.keeper import SharedMemory
from robot_qa.processes import Exit, Processes, ProcessSpec, child_environment

REPOSITORY = Path(robot_qa.__file__).parents[1]
SHM = Path('/dev/shm')
PYTHON = (sys.executable, '-I', '-S', '-c')

WAIT = 'import signal, time\nprint("ready", flush=True)\nwhile True: time.sleep(60)'
POLITE = """
import sys, time
try:
    print('ready', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('bye', file=sys.stderr)
    sys.exit(3)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
while True: time.sleep(60)
"""
# Forks twice and starts sessions, so that neither parent nor group nor session lead to it.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if 'forget' in sys.argv:
            os.execve('/bin/sh', ['sh', '-c', 'echo daemon $$; exec sleep 60'], {})
        print('daemon', os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
print('ready', flush=True)
time.sleep(60)
"""
MAP = """
import mmap, os, signal, sys, time
from pathlib import Path
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
os.close(fd)
lock = os.open(sys.argv[1] + '_el', os.O_RDONLY | os.O_CREAT, 0o600)
"""
MAPPER = MAP + """
print('ready', flush=True)
time.sleep(60)
"""
MAPPER_THAT_DIES_YOUNG = MAP + """
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGKILL)
"""
MAPPER_THAT_IS_A_SESSION = MAP + """
from robot_qa.processes import Processes, ProcessSpec
processes = Processes(Path(sys.argv[2]))
processes.start(ProcessSpec('child', ('sleep', '60'), None, os.environ))
processes.stop('child')
print('ready', flush=True)
time.sleep(60)
"""
SESSION = """
import os, sys, time
from pathlib import Path
from robot_qa.processes import Processes, ProcessSpec, child_environment

folder, *scripts = sys.argv[1:]
with Processes(Path(folder)) as processes:
    for index, script in enumerate(scripts):
        command = (sys.executable, '-I', '-S', '-c', script)
        env = child_environment(os.environ, None, {})
        processes.start(ProcessSpec(f'child_{index}', command, None, env))
    if os.environ.get('FORK') and os.fork() == 0:
        print('fork', os.getpid(), flush=True)
    time.sleep(60)
"""
NODE = """
import rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node('robot_qa_test')
publisher = node.create_publisher(String, 'robot_qa_test', 1)
print('ready', flush=True)
rclpy.spin(node)
"""

needs_rclpy = pytest.mark.skipif(
    importlib.util.find_spec('rclpy') is None, reason='rclpy is not installed')


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f'not within {timeout_s} s: {what}'
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def keeper_of(pid: int) -> int:
    return psutil.Process(pid).ppid()


class Starter:
    """Starts Python snippets and waits until they have said that they are ready."""

    def __init__(self, processes: Processes, log_dir: Path) -> None:
        self.processes = processes
        self.log_dir = log_dir

    def __call__(self, name: str, script: str, *args: str) -> int:
        env = child_environment(os.environ, None, {})
        pid = self.processes.start(ProcessSpec(name, (*PYTHON, script, *args), None, env))
        wait_until(lambda: 'ready' in self.log(name), f'{name} is ready')
        return pid

    def log(self, name: str) -> str:
        return (self.log_dir / f'{name}.log').read_text()

    def daemon(self, name: str) -> int:
        wait_until(lambda: re.search(r'daemon \d+\n', self.log(name)), 'the daemon runs')
        found = re.search(r'daemon (\d+)', self.log(name))
        assert found
        return int(found[1])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def start(processes: Processes, tmp_path: Path) -> Starter:
    return Starter(processes, tmp_path)


def test_polite_process_ends_by_sigint(start: Starter, tmp_path: Path) -> None:
    start('polite', POLITE)
    exit_ = start.processes.stop('polite')
    assert exit_ == Exit('polite', 3, 'SIGINT', tmp_path / 'polite.log')
    assert exit_.log.read_text() == 'ready\nbye\n'
    assert start.processes.stop('polite') == exit_
    assert start.processes.poll() == {}


def test_stubborn_process_is_killed(start: Starter) -> None:
    pid = start('stubborn', STUBBORN)
    exit_ = start.processes.stop('stubborn', patience_s=0.1)
    assert (exit_.code, exit_.signal_sent) == (-signal.SIGKILL, 'SIGKILL')
    assert is_gone(pid)


def test_others_are_looked_after_while_one_is_being_stopped(start: Starter) -> None:
    start('deaf', STUBBORN)
    pid = start('other', POLITE)
    ended = start.processes.begin_stop('deaf', 0.5)
    assert ended() is None and pid in start.processes.pids('other')
    wait_until(ended, 'its end', 60.0)
    assert start.processes.poll() == {}, 'it did not end by itself'


def test_paused_process_hears_sigint(start: Starter) -> None:
    pid = start('paused', POLITE)
    os.kill(pid, signal.SIGSTOP)
    assert start.processes.stop('paused').signal_sent == 'SIGINT'


def test_ignored_sigint_is_not_inherited(tmp_path: Path) -> None:
    # A shell without job control starts its background jobs like this.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Processes(tmp_path) as processes:
            Starter(processes, tmp_path)('polite', POLITE)
            assert processes.stop('polite').code == 3
    finally:
        signal.signal(signal.SIGINT, before)


def test_stop_finds_daemons_and_spares_others(start: Starter) -> None:
    leader, other = start('daemon', DAEMON), start('other', WAIT)
    daemon = start.daemon('daemon')
    assert sorted(start.processes.pids('daemon')) == sorted([leader, daemon])
    assert start.processes.stop('daemon', patience_s=0.1).signal_sent == 'SIGTERM'
    assert is_gone(leader) and is_gone(daemon)
    assert start.processes.pids('other') == [other]


def test_daemon_without_its_environment_is_stopped_in_the_end(start: Starter) -> None:
    start('daemon', DAEMON, 'forget')
    daemon = start.daemon('daemon')
    start.processes.stop_all(patience_s=0.1)
    assert is_gone(daemon)


def test_stop_all_reports_everything(start: Starter) -> None:
    start('polite', POLITE)
    start('stubborn', STUBBORN)
    codes = {name: e.code for name, e in start.processes.stop_all(patience_s=0.1).items()}
    assert codes == {'polite': 3, 'stubborn': -signal.SIGKILL}


def test_crash_is_reported(start: Starter) -> None:
    pid = start('crash', WAIT)
    os.kill(pid, signal.SIGSEGV)
    wait_until(start.processes.poll, 'the crash is reported')
    exit_ = start.processes.poll()['crash']
    assert (exit_.code, exit_.signal_sent) == (-signal.SIGSEGV, None)
    assert start.processes.stop('crash') == exit_


def test_short_lived_processes_are_all_reported(processes: Processes) -> None:
    names = [f'short_{index}' for index in range(20)]
    for name in names:
        processes.start(ProcessSpec(name, ('sh', '-c', 'exit 7'), None, os.environ))
    wait_until(lambda: len(processes.poll()) == len(names), 'all have ended')
    assert {exit_.code for exit_ in processes.poll().values()} == {7}


def test_name_is_free_again_after_the_end(start: Starter) -> None:
    start('node', POLITE)
    with pytest.raises(ProcessError, match='"node" is already running'):
        start('node', POLITE)
    start.processes.stop('node')
    start('node', POLITE)
    wait_until(lambda: start.log('node').count('ready') == 2, 'the second one is ready')
    assert start.processes.stop('node').code == 3
    assert start.log('node') == 2 * 'ready\nbye\n'


def test_why_a_process_cannot_start(processes: Processes, tmp_path: Path) -> None:
    script, text = tmp_path / 'script', tmp_path / 'text'
    script.write_text('#!/nowhere/python\n')
    script.chmod(0o755)
    text.write_text('text')

    def reason(*argv: str, cwd: Path | None = None) -> str:
        with pytest.raises(ProcessError) as caught:
            processes.start(ProcessSpec('node', argv, cwd, os.environ))
        return str(caught.value)

    assert reason('slepe') == 'node: command not found: slepe; did you mean "sleep"?'
    assert reason('./absent') == 'node: command not found: ./absent'
    assert reason('ls', cwd=tmp_path / 'x') == f'node: working directory not found: {tmp_path}/x'
    assert 'interpreter in its first line was not found' in reason(str(script))
    assert reason(str(text)) == f'node: cannot start {text}: Permission denied'
    assert reason() == 'node: the command is empty'
    with pytest.raises(ProcessError, match='no process "nod" was started'):
        processes.stop('nod')


def test_close_twice_leaves_no_keeper(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    keeper = keeper_of(Starter(processes, tmp_path)('wait', WAIT))
    processes.close()
    processes.close()
    assert not psutil.pid_exists(keeper)
    with pytest.raises(ProcessError, match='closed already'):
        processes.stop_all()


def test_lost_keeper_takes_the_processes_along(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    pid = Starter(processes, tmp_path)('stubborn', STUBBORN)
    os.kill(keeper_of(pid), signal.SIGKILL)
    wait_until(lambda: is_gone(pid), 'the process died with its keeper')
    with pytest.raises(ProcessError, match=r"was lost; the processes \['stubborn'\] died"):
        processes.poll()
    with pytest.raises(ProcessError, match='was lost'):
        processes.close()
    processes.close()


@pytest.mark.parametrize('end', ['SIGKILL', 'SIGKILL, with a fork', 'SIGINT twice'])
def test_nothing_outlives_the_session(end: str, tmp_path: Path) -> None:
    env = {**os.environ, 'PYTHONPATH': str(REPOSITORY), 'FORK': 'yes' * ('fork' in end)}
    command = [sys.executable, '-c', SESSION, str(tmp_path), STUBBORN, DAEMON]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as session:
        log = tmp_path / 'child_1.log'
        wait_until(lambda: log.exists() and {'ready', 'daemon'} <= set(log.read_text().split()),
                   'all children run')
        assert session.stdout is not None
        fork = int(session.stdout.readline().split()[1]) if 'fork' in end else None
        family = psutil.Process(session.pid).children(recursive=True)
        left = {process.pid for process in family} - {fork}
        assert len(left) == 4, 'the keeper, two children and a daemon'
        if end == 'SIGINT twice':
            session.send_signal(signal.SIGINT)
            keeper = next(process for process in family if process.ppid() == session.pid)
            wait_until(lambda: len(keeper.children()) < 3, 'the stopping has begun')
            session.send_signal(signal.SIGINT)
            session.wait(2.0)
        else:
            session.kill()
        wait_until(lambda: all(map(is_gone, left)), 'all are gone')
        if fork:
            os.kill(fork, signal.SIGKILL)


@pytest.fixture
def segment() -> Iterator[Path]:
    path = SHM / f'fastrtps_robotqa_test_{secrets.token_hex(8)}'
    yield path
    for left in SHM.glob(f'*{path.name}*'):
        left.unlink()


def left_of(segment: Path) -> list[Path]:
    return list(SHM.glob(f'*{segment.name}*'))


def test_shared_memory_of_a_killed_process_is_removed(start: Starter, segment: Path) -> None:
    pid = start('mapper', MAPPER, str(segment))
    # Mapped, held open, and neither: the three ways in which Fast DDS uses its files.
    (SHM / f'sem.{segment.name}_mutex').touch()
    start('other', WAIT)
    start.processes.stop('other')
    os.kill(pid, signal.SIGKILL)
    wait_until(start.processes.poll, 'the death is reported')
    assert len(left_of(segment)) == 3
    start.processes.close()
    assert left_of(segment) == []


def test_shared_memory_of_a_short_life_is_removed(processes: Processes, segment: Path) -> None:
    command = (*PYTHON, MAPPER_THAT_DIES_YOUNG, str(segment))
    processes.start(ProcessSpec('mapper', command, None, os.environ))
    wait_until(processes.poll, 'the death is reported')
    assert len(left_of(segment)) == 2
    processes.close()
    assert left_of(segment) == []


def test_shared_memory_of_a_killed_session_is_removed(segment: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-c', MAPPER_THAT_IS_A_SESSION, str(segment), str(tmp_path)]
    env = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b'ready\n'
        session.kill()
    wait_until(lambda: left_of(segment) == [], 'the files are removed')


def test_shared_memory_of_others_is_spared(start: Starter, segment: Path) -> None:
    shared, foreign, own = (Path(f'{segment}_{kind}') for kind in ('shared', 'foreign', 'own'))
    with (
        subprocess.Popen([*PYTHON, MAPPER, shared], stdout=subprocess.PIPE) as user,
        subprocess.Popen([*PYTHON, MAPPER, foreign], stdout=subprocess.PIPE) as dead,
        own.open('w'),
    ):
        for process in (user, dead):
            assert process.stdout is not None
            process.stdout.readline()
        dead.kill()
        dead.wait()
        start('mapper', MAPPER, str(shared))
        start('own', MAPPER, str(own))
        start.processes.close()
        user.kill()
    assert shared.exists(), 'somebody else used it'
    assert own.exists(), 'this process used it'
    assert foreign.exists(), 'nobody used it, but it never was ours'


def test_shared_memory_that_was_replaced_is_spared(start: Starter, segment: Path) -> None:
    start('mapper', MAPPER, str(segment))
    start.processes.stop('mapper')
    # Numbered ports have the same name in every run.
    replacement = SHM / f'new_{segment.name}'
    replacement.touch()
    replacement.rename(segment)
    start.processes.close()
    assert segment.exists()


def test_new_shared_memory_is_noticed_once(
    segment: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = SharedMemory()
    assert memory.watch is not None
    # Tests beside this one open files of theirs.
    every = memory._events
    monkeypatch.setattr(memory, '_events', lambda: (
        one for one in every() if segment.name.encode() in one[1]))
    memory.look([])
    with segment.open('w'):
        now = time.monotonic()
        memory.notice(now)
        assert now < memory.look_at < now + 0.2
        memory.look([os.getpid()])
        assert memory.look_at == float('inf')
        segment.open().close()
        memory.notice(now)
        assert memory.look_at == float('inf'), 'the lock of a known file was only tried'
    os.close(memory.watch)


def test_child_environment() -> None:
    prefix = f'{sys.prefix}/lib'
    wheels = f'{prefix}/python3.11/site-packages/ros_rcl.libs'
    base = {'A': '1', '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
            'LD_LIBRARY_PATH': f'{wheels}:/opt/own/lib:{prefix}', 'PYTHONUNBUFFERED': ''}
    assert child_environment(base, 42, {'A': '2'}) == {
        'A': '2', 'LD_LIBRARY_PATH': '/opt/own/lib', 'PYTHONUNBUFFERED': '1',
        'RCUTILS_COLORIZED_OUTPUT': '0', 'ROS_DOMAIN_ID': '42',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'GZ_PARTITION': f'robot_qa_{os.getpid()}_42',
    }
    sourced = {'LD_LIBRARY_PATH': f'/opt/ros/jazzy/lib:{prefix}'}
    env = child_environment(sourced, None, {})
    assert env['LD_LIBRARY_PATH'] == sourced['LD_LIBRARY_PATH']
    assert 'ROS_DOMAIN_ID' not in env


def test_ros_logs_go_to_the_log_folder(processes: Processes, tmp_path: Path) -> None:
    command = ('sh', '-c', 'echo $ROS_LOG_DIR')
    env = {key: value for key, value in os.environ.items() if key != 'ROS_LOG_DIR'}
    for name, given in (('default', env), ('chosen', {**env, 'ROS_LOG_DIR': '/else'})):
        processes.start(ProcessSpec(name, command, None, given))
    wait_until(lambda: len(processes.poll()) == 2, 'both have ended')
    assert (tmp_path / 'default.log').read_text() == f'{tmp_path}\n'
    assert (tmp_path / 'chosen.log').read_text() == '/else\n'


@pytest.mark.live
@needs_rclpy
@pytest.mark.parametrize('flagged', [False, True])
def test_child_imports_rclpy(processes: Processes, tmp_path: Path, flagged: bool) -> None:
    base = {key: value for key, value in os.environ.items() if key != 'LD_LIBRARY_PATH'}
    base |= {'_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'} if flagged else {}
    command = (sys.executable, '-c', 'import rclpy; rclpy.init(); print("initialized")')
    processes.start(ProcessSpec('node', command, None, child_environment(base, None, {})))
    wait_until(processes.poll, 'the child has ended')
    assert processes.poll()['node'].code == 0
    assert 'initialized' in (tmp_path / 'node.log').read_text()


@pytest.mark.live
@needs_rclpy
def test_killed_node_leaves_no_shared_memory(tmp_path: Path) -> None:
    with claim_domain() as claim, Processes(tmp_path) as processes:
        env = child_environment(os.environ, claim.id, {})
        pid = processes.start(ProcessSpec('node', (sys.executable, '-c', NODE), None, env))
        wait_until(lambda: 'ready' in (tmp_path / 'node.log').read_text(), 'the node is up')
        links = [os.readlink(link) for link in Path(f'/proc/{pid}/fd').iterdir()]
        # The keeper looks a tenth of a second after the creation, or before it stops anything.
        processes.start(ProcessSpec('other', ('sleep', '60'), None, env))
        processes.stop('other')
        os.kill(pid, signal.SIGKILL)
        wait_until(processes.poll, 'the node has died')
        stems = re.findall(r'/dev/shm/(\S+)_el\n', '\n'.join(links) + '\n')
        files = [path for stem in stems for path in SHM.glob(f'*{stem}*')]
        assert len(files) > 2 * len(stems) > 2, 'a killed node cleans nothing'
    # Ports are shared by all that use them: one that another test's node uses as well stays until
    # that one ends.
    wait_until(lambda: not [path for path in files if path.exists() and not in_use(path)],
               'the files are removed')


def in_use(path: Path) -> bool:
    """Tell whether a living process maps the file or, with its lock, holds it open."""
    stem = path.name.removeprefix('sem.').removesuffix('_mutex').removesuffix('_el')
    for process in Path('/proc').glob('[0-9]*'):
        try:
            links = [os.readlink(link) for link in (process / 'fd').iterdir()]
            seen = '\n'.join([(process / 'maps').read_text(), *links])
        except OSError:
            continue
        if f'/dev/shm/{stem}' in seen:
            return True
    return False
