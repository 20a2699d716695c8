"""The Python bindings of gz-transport, of whichever release of Gazebo is installed."""

from __future__ import annotations

import importlib
from typing import Any

from robot_qa.errors import SetupError

# The release, and its Python modules; Jetty dropped the numbers from theirs.
RELEASES = (
    ('Harmonic', 'gz.transport13', 'gz.msgs10'), ('Ionic', 'gz.transport14', 'gz.msgs11'),
    ('Jetty', 'gz.transport15', 'gz.msgs12'), ('Jetty', 'gz.transport', 'gz.msgs'),
)
# In which module of gz.msgs the messages are whose name in lower case does not say it.
MODULES = {
    'EntityFactory': 'entity_factory', 'EntityPlugin_V': 'entity_plugin_v',
    'EntityWrench': 'entity_wrench', 'SerializedStepMap': 'serialized_map',
    'WorldControl': 'world_control',
}


class Gazebo:
    """The bindings of the release that is installed here."""

    def __init__(self) -> None:
        """Raise ``SetupError`` where there is none."""
        reasons = []
        for self.release, transport, self._messages in RELEASES:
            try:
                self.transport: Any = importlib.import_module(transport)
                importlib.import_module(f'{self._messages}.boolean_pb2')
            except ImportError as error:
                reasons.append(str(error))
            else:
                self.node: Any = self.transport.Node()
                self.json: Any = importlib.import_module('google.protobuf.json_format')
                return
        raise SetupError('no Python bindings of gz-transport can be imported (Harmonic: '
                         f'python3-gz-transport13, python3-gz-msgs10): {"; ".join(reasons)}')

    def kind(self, name: str) -> Any:
        """Return the class of a message such as ``Pose_V``."""
        inner = MODULES.get(name, name.lower())
        module = importlib.import_module(f'{self._messages}.{inner}_pb2')
        return getattr(module, name)

    def message(self, name: str, values: dict[str, Any]) -> Any:
        """Return a message; raises ``ParseError`` for fields that it does not have."""
        return self.json.ParseDict(values, self.kind(name)())

    def plain(self, message: Any) -> dict[str, Any]:
        """Return a message as JSON; fields with their default value are left out."""
        plain: dict[str, Any] = self.json.MessageToDict(
            message, preserving_proto_field_name=True)
        return plain

    def call(
        self, service: str, kind: str, values: dict[str, Any], reply: str, timeout_ms: int,
    ) -> dict[str, Any] | None:
        """Return the answer of a service; None if there was none in time."""
        request = self.message(kind, values).SerializeToString()
        executed, data = self.node.request_raw(
            service, request, f'gz.msgs.{kind}', f'gz.msgs.{reply}', timeout_ms)
        return self.plain(self.kind(reply).FromString(data)) if executed else None

    def message_of(self, service: str, reply: str, timeout_ms: int) -> Any:
        """Return the answer of a service that takes nothing; None if there was none in time."""
        executed, data = self.node.request_raw(
            service, b'', 'gz.msgs.Empty', f'gz.msgs.{reply}', timeout_ms)
        return self.kind(reply).FromString(data) if executed else None
