"""Interfaces are built without CMake, found, imported, and spoken over DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from robot_qa.domains import claim_domain
from robot_qa.errors import SetupError, SpecError
from robot_qa.messages.definitions import read_packages
from robot_qa.messages.interfaces import build

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / 'interfaces'

PART = """\
uint8 UNKNOWN=0
uint8 KNOWN = 200
float32 LIMIT=-1.5
string GREETING="hello"
bool flag true
byte octet
char letter 65
int8 small -3
int64 large -9223372036854775808
uint64 huge 18446744073709551615
float32 single
float64 twice 2.5
"""
WHOLE = """\
# Comments may hold any character: é, 中
std_msgs/Header header
string text "it's"
string<=5 short_text
wstring wide "plain"
wstring after
Part part
Part[] parts
Part[2] two_parts
Part[<=3] few_parts
int16[] numbers [1, -2, 3]
float64[3] vector [1.0, 2.0, 3.0]
uint8[<=4] few
bool[2] flags
string[] words ["a", "b,c"]
string<=4[<=2] few_words
uint32 last
"""
SERVICE = """\
uint8 MODE = 3
other_msgs/Mark mark
---
bool success
Part[] parts
"""
ACTION = 'uint32 order 4\n---\nint32[] sequence\n---\nPart part\n'


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, 'utf-8')
    return folder


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with two packages of which one needs the other."""
    pytest.importorskip('rosidl_generator_py')
    folder = write(tmp_path_factory.mktemp('source'), {
        # Sorted before what it needs.
        'kinds_msgs/msg/Part.msg': PART,
        'kinds_msgs/msg/Whole.msg': WHOLE,
        'kinds_msgs/srv/Ask.srv': SERVICE,
        'kinds_msgs/action/Count.action': ACTION,
        'other_msgs/msg/Mark.msg': 'geometry_msgs/Point position\n',
        'other_msgs/package.xml': '<package><name>other_msgs</name></package>',
    })
    prefix = tmp_path_factory.mktemp('prefix')
    told: list[str] = []
    assert build([folder], prefix, told.append) == ['other_msgs', 'kinds_msgs']
    assert told[0] == 'other_msgs: building 1 interfaces'
    started = time.perf_counter()
    assert build([folder], prefix, told.append) == []
    assert time.perf_counter() - started < 0.2
    assert not (prefix / '.robot_qa_build').exists()
    return prefix


def environment(prefix: Path, **more: str) -> dict[str, str]:
    base = {'base': str(prefix), 'platbase': str(prefix)}
    return {
        **os.environ, **more,
        'PYTHONPATH': os.pathsep.join([
            sysconfig.get_path('platlib', 'posix_prefix', base),
            os.environ.get('PYTHONPATH', '')]),
        'AMENT_PREFIX_PATH': os.pathsep.join(
            [str(prefix), os.environ.get('AMENT_PREFIX_PATH') or sys.prefix]),
        'ROS_LOG_DIR': str(prefix / 'log'),
    }


def python(prefix: Path, code: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment(prefix, **more), cwd=ROOT, text=True,
        capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


MESSAGE = """
from kinds_msgs.msg import Part, Whole
wide = 'wide: \\u00e9\\u4e2d'
message = Whole(wide=wide, after='x', last=77, few=[1, 2], few_words=['ab', 'c'])
message.header.frame_id = 'odd'
message.parts = [Part(small=1), Part(small=2)]
"""


@pytest.mark.live
def test_every_kind_of_field_survives_and_is_read_from_the_bytes(built: Path) -> None:
    # The fields of `fields.py` in the bytes that ROS wrote, the one behind the wide strings last.
    out = python(built, MESSAGE + """
from rclpy.serialization import deserialize_message, serialize_message
from robot_qa.messages.fields import compile_field
from robot_qa.messages.typestore import TypeStore
plain = Whole()
assert plain.text == "it's" and plain.wide == 'plain' and list(plain.numbers) == [1, -2, 3]
assert list(plain.vector) == [1, 2, 3] and plain.words == ['a', 'b,c']
assert plain.part.large == -2**63 and plain.part.huge == 2**64 - 1 and plain.part.letter == 65
assert (Part.KNOWN, Part.LIMIT, Part.GREETING) == (200, -1.5, 'hello')
data = bytes(serialize_message(message))
assert deserialize_message(data, Whole) == message
store = TypeStore()
for path in ('header.frame_id', 'wide', 'after', 'parts[1].small', 'vector[1]', 'last'):
    print(path, compile_field(store, 'kinds_msgs/msg/Whole', path).read(data))
""")
    assert out.splitlines() == [
        'header.frame_id odd', 'wide wide: é中', 'after x', 'parts[1].small 2', 'vector[1] 2.0',
        'last 77']


@pytest.mark.live
def test_the_index_and_introspection_know_the_package(built: Path) -> None:
    out = python(built, """
from ament_index_python import get_package_share_directory, get_resource
import ctypes
print(get_package_share_directory('kinds_msgs'))
print(get_resource('rosidl_interfaces', 'kinds_msgs')[0].split())
from kinds_msgs.msg import Whole
Whole.__import_type_support__()
loaded = open('/proc/self/maps').read()
print('libkinds_msgs__rosidl_typesupport_introspection_c.so' in loaded)
""").splitlines()
    assert out == [str(built / 'share/kinds_msgs'), str([
        'action/Count.action', 'action/Count.idl', 'msg/Part.idl', 'msg/Part.msg',
        'msg/Whole.idl', 'msg/Whole.msg', 'srv/Ask.idl', 'srv/Ask.srv']), 'True']


ACTION_TALK = """
import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.executors import SingleThreadedExecutor
from kinds_msgs.action import Count
from kinds_msgs.srv import Ask
rclpy.init()
node = rclpy.create_node('talk')
def ask(request, response):
    response.success = request.mark.position.x == 4.0
    return response
def count(goal):
    goal.succeed()
    return Count.Result(sequence=range(goal.request.order))
service = node.create_service(Ask, 'ask', ask)
server = ActionServer(node, Count, 'count', count)
client, asker = ActionClient(node, Count, 'count'), node.create_client(Ask, 'ask')
assert client.wait_for_server(20) and asker.wait_for_service(20)
request = Ask.Request()
request.mark.position.x = 4.0
answer = asker.call_async(request)
rclpy.spin_until_future_complete(node, answer, timeout_sec=20)
goal = client.send_goal_async(Count.Goal())
rclpy.spin_until_future_complete(node, goal, timeout_sec=20)
result = goal.result().get_result_async()
rclpy.spin_until_future_complete(node, result, timeout_sec=20)
print(answer.result().success, list(result.result().result.sequence))
rclpy.shutdown()
"""


@pytest.mark.live
def test_services_and_actions_speak(built: Path) -> None:
    with claim_domain() as claim:
        out = python(built, ACTION_TALK, ROS_DOMAIN_ID=str(claim.id))
    assert out.split('\n')[0] == 'True [0, 1, 2, 3]'


def test_a_changed_definition_is_built_again_and_a_failure_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rosidl_generator_py')
    folder = write(tmp_path / 'small_msgs', {'msg/One.msg': 'int32 a\n', 'msg/Two.msg': 'int8 b'})
    prefix = tmp_path / 'prefix'
    assert build([folder], prefix) == ['small_msgs']
    read = 'from small_msgs.msg import One; print(One().get_fields_and_field_types())'
    assert python(prefix, read) == "{'a': 'int32'}\n"

    write(folder, {'msg/One.msg': 'int32 other\n'})
    (folder / 'msg/Two.msg').unlink()
    with monkeypatch.context() as patch:
        broken = write(tmp_path / 'bin', {'g++': '#!/bin/sh\necho error: broken >&2\nexit 3\n'})
        (broken / 'g++').chmod(0o755)
        patch.setenv('PATH', f'{broken}:{os.environ["PATH"]}')
        with pytest.raises(SetupError, match=r'small_msgs failed \(3\):\n  error: broken'):
            build([folder], prefix)
    assert python(prefix, read) == "{'a': 'int32'}\n"

    # Interrupted between two files: all is built again.
    with monkeypatch.context() as patch:
        moved: list[str] = []

        def replace(source: Path, target: Path, real: Callable[..., None] = os.replace) -> None:
            moved.append(str(target))
            if len(moved) == 9:
                raise OSError('no space left')
            real(source, target)

        patch.setattr('robot_qa.messages.interfaces.os.replace', replace)
        with pytest.raises(SetupError, match='no space left'):
            build([folder], prefix)

    # Two at once: the second waits for the first and then has nothing to do.
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(build([folder], prefix))) for _ in '12']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[], ['small_msgs']]
    assert python(prefix, read) == "{'other': 'int32'}\n"
    left = [str(path) for path in prefix.rglob('*') if '_two' in path.name or 'Two' in path.name]
    assert [path for path in left if '__pycache__' not in path] == []


@pytest.mark.parametrize('target', ['workspace', 'another'])
def test_the_real_package_is_used_where_there_is_one(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rosidl_adapter')
    workspace = write(tmp_path / 'workspace', {
        'share/ament_index/resource_index/packages/real_msgs': '',
    })
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(workspace))
    folder = write(tmp_path / 'real_msgs', {'msg/One.msg': 'int32 a\n'})
    told: list[str] = []
    assert build([folder], tmp_path / target, told.append) == []
    assert told == [f'real_msgs: not built, {workspace} has it']


def test_every_broken_line_of_every_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip('rosidl_adapter')
    folder = write(tmp_path, {
        'bad_msgs/msg/Bad.msg': (
            'floot32 x\n# fine\nint32\nint8 n 300\nint8 ok\nint8 ok\nint8 Upper\nstring<=0 s\n'
            'int8 class\nint8 union\ntime stamp\nuint8 K=a\n'),
        'bad_msgs/msg/lower.msg': 'int8 a\n',
        'bad_msgs/srv/Half.srv': 'int8 a\n',
    })
    with pytest.raises(SpecError) as caught:
        build([folder], tmp_path / 'prefix')
    places = [f'{Path(p.file).name}:{p.line}' for p in caught.value.problems]
    assert places == [
        *(f'Bad.msg:{line}' for line in (1, 3, 4, 6, 7, 8, 9, 10, 11, 12)),
        'lower.msg:1', 'Half.srv:1']
    text = str(caught.value)
    assert 'did you mean "float32"' in text
    assert '"ok" is defined on line 5 already' in text
    assert 'expected builtin_interfaces/Time' in text
    assert 'Half.srv:1:1: a .srv file has 1 lines "---"; found 0' in text
    assert not (tmp_path / 'prefix').exists()


def test_every_type_that_is_nowhere_is_told(tmp_path: Path) -> None:
    pytest.importorskip('std_msgs')
    folder = write(tmp_path, {
        'use_msgs/msg/Use.msg': (
            'std_msgs/Heder header\nint8 a\nnowhere_msgs/Thing thing\nMissing missing\n'),
        'use_msgs/msg/Loop.msg': 'int8 a\nBack[] back\n',
        'use_msgs/msg/Back.msg': 'int8 a\nint8 b\nLoop loop\n',
    })
    with pytest.raises(SpecError) as caught:
        build([folder], tmp_path / 'prefix')
    message = '\n'.join(f'{Path(p.file).name}:{p.line} {p.message}' for p in caught.value.problems)
    assert message.startswith(('Back.msg:3 ', 'Loop.msg:2 '))
    assert 'Use.msg:1 there is no message std_msgs/Heder; did you mean "std_msgs/Header"?' in (
        message)
    assert ('Use.msg:3 package nowhere_msgs of nowhere_msgs/Thing is neither installed nor among '
            'those to build') in message
    assert 'Use.msg:4 there is no message use_msgs/Missing' in message


def test_what_cannot_be_built_at_all_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rosidl_adapter')
    with pytest.raises(SetupError, match='no interfaces in'):
        build([tmp_path], tmp_path / 'prefix')
    with pytest.raises(SetupError, match='no folder'):
        build([tmp_path / 'none'], tmp_path / 'prefix')
    circle = write(tmp_path, {
        'a_msgs/msg/A.msg': 'b_msgs/B b\n', 'b_msgs/msg/B.msg': 'a_msgs/C c\n',
        'a_msgs/msg/C.msg': 'int8 c\n'})
    with pytest.raises(SetupError, match='packages need each other'):
        build([circle], tmp_path / 'prefix')
    fine = write(tmp_path / 'fine_msgs', {'msg/A.msg': 'int8 a\n'})
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(SetupError, match=r'missing: a C\+\+ compiler .*apt install g\+\+'):
        build([fine], tmp_path / 'prefix')
    monkeypatch.undo()
    paths = {**sysconfig.get_paths(), 'include': str(tmp_path)}
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: paths)
    with pytest.raises(SetupError, match=r'missing: the header files of python3\.\d+ '):
        build([fine], tmp_path / 'prefix')


# What is shipped: built into the environment by `make venv`


def shipped(package: str) -> Path:
    for prefix in [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]:
        share = Path(prefix) / 'share' / package
        if prefix and (share / 'msg').is_dir():
            return share
    pytest.skip(f'{package} is not built: robot_qa interfaces build interfaces')


def type_hash(share: Path, name: str) -> str:
    text = (share / f'{name}.json').read_text()
    return str(json.loads(text)['type_hashes'][0]['hash_string'])


# As rosidl's CMake files gave them; to be seen in `ros2 topic info --verbose` and in recordings.
PUBLISHED = {
    'tf2_msgs/msg/TFMessage': 'e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087',
    'tf2_msgs/msg/TF2Error': 'db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a',
    'tf2_msgs/action/LookupTransform':
        '0b8adf6bc0b5958879e3265b41a457e03558fe523890a81252c70eba97a82c5d',
    'vision_msgs/msg/Detection3DArray':
        '793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018',
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_type_hashes_are_those_of_the_official_packages(name: str) -> None:
    package, _, part = name.partition('/')
    assert type_hash(shipped(package), part) == f'RIHS01_{PUBLISHED[name]}'


@pytest.mark.parametrize('package', [
    'vision_msgs', 'tf2_msgs', 'simulation_interfaces', 'ros_gz_interfaces',
])
def test_type_hashes_are_those_that_rosbags_computes(package: str) -> None:
    share = shipped(package)
    store = get_typestore(Stores.LATEST)
    known = set(store.fielddefs)
    files = sorted((share / 'msg').glob('*.msg'))
    assert len(files) >= 2
    for file in files:
        name = f'{package}/msg/{file.stem}'
        if name not in known:
            store.register(get_types_from_msg(file.read_text(), name))
    for file in files:
        name = f'{package}/msg/{file.stem}'
        assert type_hash(share, f'msg/{file.stem}') == store.hash_rihs01(name), name


def test_all_that_is_shipped_is_well_formed() -> None:
    pytest.importorskip('rosidl_adapter')
    packages = {package.name: package for package in read_packages([SHIPPED])}
    assert sorted(packages) == [
        'ros_gz_interfaces', 'simulation_interfaces', 'tf2_msgs', 'vision_msgs']
    assert {p.name: len(p.definitions) for p in packages.values()} == {
        'ros_gz_interfaces': 5, 'simulation_interfaces': 26, 'tf2_msgs': 4, 'vision_msgs': 16}


ROBOT = """
import rclpy, sys
from simulation_interfaces.srv import GetEntities
from vision_msgs.msg import Detection2D, Detection2DArray
rclpy.init()
node = rclpy.create_node('robot')
done = []
def answer(request, response):
    response.result.result = 1
    response.entities = [request.filters.filter, 'crate_1']
    done.append(True)
    return response
node.create_service(GetEntities, 'get_entities', answer)
publisher = node.create_publisher(Detection2DArray, 'detections', 1)
message = Detection2DArray(detections=[Detection2D(id='seven'), Detection2D()])
message.detections[1].bbox.center.position.x = 12.5
node.create_timer(0.05, lambda: publisher.publish(message))
while not sys.stdin.closed and rclpy.ok():
    rclpy.spin_once(node, timeout_sec=0.1)
"""
MONITOR = """
import rclpy
from simulation_interfaces.srv import GetEntities
from vision_msgs.msg import Detection2DArray
rclpy.init()
node = rclpy.create_node('monitor')
seen = []
node.create_subscription(Detection2DArray, 'detections', seen.append, 1)
client = node.create_client(GetEntities, 'get_entities')
assert client.wait_for_service(20)
request = GetEntities.Request()
request.filters.filter = 'crate_.*'
future = client.call_async(request)
rclpy.spin_until_future_complete(node, future, timeout_sec=20)
for _ in range(200):
    if seen:
        break
    rclpy.spin_once(node, timeout_sec=0.1)
print(future.result().result.result, future.result().entities)
print([(d.id, d.bbox.center.position.x) for d in seen[0].detections])
rclpy.shutdown()
"""


@pytest.fixture
def domain() -> Iterator[str]:
    with claim_domain() as claim:
        yield str(claim.id)


@pytest.mark.live
def test_two_processes_speak_over_dds(domain: str, tmp_path: Path) -> None:
    shipped('vision_msgs')
    shipped('simulation_interfaces')
    robot = subprocess.Popen(
        [sys.executable, '-c', ROBOT], env=environment(tmp_path, ROS_DOMAIN_ID=domain))
    try:
        out = python(tmp_path, MONITOR, ROS_DOMAIN_ID=domain)
    finally:
        robot.kill()
        robot.wait()
    assert out.splitlines() == [
        "1 ['crate_.*', 'crate_1']", "[('seven', 0.0), ('', 12.5)]"]
