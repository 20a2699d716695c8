from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from robot_qa.errors import UnknownTypeError
from robot_qa.messages.typestore import TypeStore

NEWEST = max((s for s in Stores if s.value.startswith('ros2_')), key=lambda s: s.value)
LINE = '=' * 80


def write(prefix: Path, name: str, text: str) -> None:
    file = prefix / 'share' / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "overlay"}:{tmp_path / "base"}')
    return tmp_path


def members(store: TypeStore, name: str) -> list[str]:
    return [field for field, _ in store.fields(name)]


def test_registered_beats_workspace_beats_built_in(workspace: Path) -> None:
    name = 'std_msgs/msg/Header'
    assert members(TypeStore(), name) == ['stamp', 'frame_id']
    write(workspace / 'base', 'std_msgs/msg/Header.msg', 'int8 base\n')
    assert members(TypeStore(), name) == ['base']
    write(workspace / 'overlay', 'std_msgs/msg/Header.msg', 'int8 overlay\n')
    store = TypeStore()
    assert members(store, name) == ['overlay']
    store.register(name, 'uint32 seq\nstring frame_id\n', 'ros2msg')
    assert members(store, name) == ['seq', 'frame_id']
    assert members(TypeStore(workspace=False), name) == ['stamp', 'frame_id']


def test_a_registered_part_wins_inside_built_in_types() -> None:
    store = TypeStore(workspace=False)
    text = f'a/Inner inner\n{LINE}\nMSG: a/Inner\nPoint p\n{LINE}\nMSG: a/Point\nfloat32 x\n'
    store.register('a/msg/Outer', text, 'ros2msg')
    assert store.fields('a/msg/Inner') == [('p', (Nodetype.NAME, 'a/msg/Point'))]
    store.register('geometry_msgs/msg/Point', 'float32 only\n', 'ros2msg')
    assert members(store, 'geometry_msgs/msg/Point') == ['only']
    assert 'MSG: geometry_msgs/Point\nfloat32 only\n' in store.definition_text(
        'geometry_msgs/msg/PoseStamped')


def test_prefix_of_this_python_without_a_sourced_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    write(tmp_path, 'a/msg/A.msg', 'int8 x\n')
    with pytest.raises(UnknownTypeError):
        TypeStore().fields('a/msg/A')
    (tmp_path / 'share' / 'ament_index').mkdir()
    assert members(TypeStore(), 'a/msg/A') == ['x']


def test_workspace_types_bring_their_parts(workspace: Path) -> None:
    base = workspace / 'base'
    write(base, 'a/msg/A.msg', '# doc\nB[<=2] b\nstd_msgs/Header h\nwstring<=3 w "x"\nchar c 1\n')
    write(base, 'a/msg/B.idl', 'module a { module msg { struct B { octet x; }; }; };')
    store = TypeStore()
    assert store.fields('a/msg/A') == [
        ('b', (Nodetype.SEQUENCE, ((Nodetype.NAME, 'a/msg/B'), 2))),
        ('h', (Nodetype.NAME, 'std_msgs/msg/Header')),
        ('w', (Nodetype.BASE, ('wstring', 0))),
        ('c', (Nodetype.BASE, ('uint8', 0))),
    ]
    assert members(store, 'a/msg/B') == ['x']


def test_services_and_actions_of_the_workspace(workspace: Path) -> None:
    base = workspace / 'base'
    write(base, 'a/srv/S.srv', '---\nB b\n')
    write(base, 'a/msg/B.msg', 'bool ok\n')
    write(base, 'a/action/Go.action', 'float64 x\n---\nbool done\n---\nuint8 percent\n')
    store = TypeStore()
    dummy = ['structure_needs_at_least_one_member']
    assert members(store, 'a/srv/S_Request') == dummy
    assert store.fields('a/srv/S_Response') == [('b', (Nodetype.NAME, 'a/msg/B'))]
    assert members(store, 'a/action/Go_Goal') == ['x']
    assert members(store, 'a/action/Go_Result') == ['done']
    assert store.fields('a/action/Go_FeedbackMessage') == [
        ('goal_id', (Nodetype.NAME, 'unique_identifier_msgs/msg/UUID')),
        ('feedback', (Nodetype.NAME, 'a/action/Go_Feedback')),
    ]
    copy = TypeStore(workspace=False)
    for name in ('a/srv/S_Response', 'a/action/Go_FeedbackMessage'):
        copy.register(name, store.definition_text(name), 'ros2msg')
        assert copy.fields(name) == store.fields(name)
    with pytest.raises(UnknownTypeError, match='did you mean "a/srv/S_Request"'):
        store.fields('a/srv/S_Requst')


@pytest.mark.parametrize('name', sorted(get_typestore(NEWEST).fielddefs))
def test_definition_text_defines_the_same_type(name: str) -> None:
    store = TypeStore(workspace=False)
    text = store.definition_text(name)
    alone = TypeStore(workspace=False)
    alone.register(name, text, 'ros2msg')
    # All parts are in the text: nothing may be left for the built-in definitions.
    parts = {name, *(f'{line[5:]}'.replace('/', '/msg/') for line in text.splitlines()
                     if line.startswith('MSG: '))}
    assert set(alone._registered) == parts
    assert all(alone.fields(part) == store.fields(part) for part in parts)
    assert alone.definition_text(name) == text


def test_definition_text_is_laid_out_as_mcap_wants_it() -> None:
    assert TypeStore(workspace=False).definition_text('geometry_msgs/msg/PointStamped') == (
        f'std_msgs/Header header\ngeometry_msgs/Point point\n'
        f'{LINE}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n'
        f'{LINE}\nMSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n'
        f'{LINE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
    )


def test_definition_text_keeps_constants_and_bounds() -> None:
    store = TypeStore(workspace=False)
    text = 'int8 A=-1\nstring S=a b\nbool T=True\nstring<=3[<=4] s\nuint8[16] u\nwstring[] w\n'
    store.register('a/msg/A', text, 'ros2msg')
    assert store.definition_text('a/msg/A') == text


def test_idl_of_a_recording() -> None:
    text = (
        f'{LINE}\nIDL: a/msg/A\n// from A.msg\n\n#include "a/msg/B.idl"\n'
        'module a { module msg { struct A { a::msg::B b; '
        'sequence<double, 3> c; wstring w; }; }; };\n'
        f'{LINE}\r\nIDL: a/msg/B\nmodule a {{ module msg {{ struct B {{ '
        'uint8 structure_needs_at_least_one_member; }; }; };\n'
    )
    store = TypeStore(workspace=False)
    store.register('a/msg/A', text, 'ros2idl')
    assert store.definition_text('a/msg/A') == (
        f'a/B b\nfloat64[<=3] c\nwstring w\n{LINE}\nMSG: a/B\n'
    )
    # The same type from another topic, in the other language, is no contradiction.
    store.register('a/msg/B', '# nothing\n', 'ros2msg')


def test_unknown_types_say_where_was_looked(workspace: Path) -> None:
    write(workspace / 'base', 'a/msg/Outer.msg', 'Missing m\n')
    write(workspace / 'base', 'a/msg/Mising.msg', 'int8 x\n')
    with pytest.raises(UnknownTypeError) as caught:
        TypeStore().fields('a/msg/Outer')
    text = str(caught.value)
    assert text.startswith('no definition of a/msg/Missing (part of a/msg/Outer); looked at ')
    for place in ('0 registered types', f'{workspace}/overlay/share', f'{workspace}/base/share',
                  NEWEST.value):
        assert place in text
    assert text.endswith('; did you mean "a/msg/Mising"?')


@pytest.mark.parametrize('name', ['LaserScan', 'sensor_msgs/LaserScan', '../../etc/passwd', ''])
def test_names_that_are_no_types(name: str, workspace: Path) -> None:
    with pytest.raises(UnknownTypeError, match='no definition of'):
        TypeStore().fields(name)


@pytest.mark.parametrize(('text', 'encoding', 'complaint'), [
    ('int8 x\n', 'ros1msg', 'written as "ros1msg"; expected ros2msg or ros2idl'),
    ('int8\n', 'ros2msg', 'a/msg/A cannot be parsed'),
    ('module a {', 'ros2idl', 'a/msg/A cannot be parsed'),
    ('module a { module msg { struct B { octet x; }; }; };', 'ros2idl', 'defines a/msg/B'),
    (f'B b\n{LINE}\nMSG: a/B\nint16 new\n', 'ros2msg', 'a/msg/B is defined in two ways: '
     'with a/msg/Old and with a/msg/A'),
])
def test_a_refused_registration_leaves_nothing(text: str, encoding: str, complaint: str) -> None:
    store = TypeStore(workspace=False)
    store.register('a/msg/Old', f'B b\n{LINE}\nMSG: a/B\nint8 old\n', 'ros2msg')
    with pytest.raises(UnknownTypeError, match=complaint):
        store.register('a/msg/A', text, encoding)
    with pytest.raises(UnknownTypeError, match='no definition of a/msg/A'):
        store.fields('a/msg/A')
    assert members(store, 'a/msg/B') == ['old']


def test_a_type_that_contains_itself() -> None:
    store = TypeStore(workspace=False)
    store.register('a/msg/A', f'B b\n{LINE}\nMSG: a/B\nA[] a\n', 'ros2msg')
    with pytest.raises(UnknownTypeError, match='a/msg/A contains itself'):
        store.fields('a/msg/A')
