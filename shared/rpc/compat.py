"""Imports what we use of purerpc 0.8.0, beside h2 4.3 and newer. Everyone else imports it from here.

purerpc names one h2 class by the name that it had before h2 4: it gets that name back first. And it patches h2 for the
whole process: what it changes is put back, since h2 has long had those repairs itself.
"""

import h2.connection
import h2.events
import h2.stream

if not hasattr(h2.events, "PingAcknowledged"):
    h2.events.PingAcknowledged = h2.events.PingAckReceived  # type: ignore[attr-defined]

_transitions = dict(h2.stream._transitions)
_data_to_send = h2.connection.H2Connection.data_to_send
_clear_outbound_data_buffer = h2.connection.H2Connection.clear_outbound_data_buffer

import purerpc  # noqa: E402
from purerpc.grpclib.config import GRPCConfiguration  # noqa: E402
from purerpc.grpclib.connection import GRPCConnection  # noqa: E402
from purerpc.grpclib.events import RequestReceived, ResponseEnded, ResponseReceived  # noqa: E402
from purerpc.grpclib.exceptions import ProtocolError  # noqa: E402
from purerpc.grpclib.headers import HeaderDict, b64decode, b64encode, sanitize_headers  # noqa: E402
from purerpc.rpc import Cardinality, RPCSignature  # noqa: E402
from purerpc.server import Servicer  # noqa: E402

h2.stream._transitions.update(_transitions)
h2.connection.H2Connection.data_to_send = _data_to_send  # type: ignore[method-assign]
h2.connection.H2Connection.clear_outbound_data_buffer = _clear_outbound_data_buffer  # type: ignore[method-assign]

__all__ = [
    "Cardinality",
    "GRPCConfiguration",
    "GRPCConnection",
    "HeaderDict",
    "ProtocolError",
    "RPCSignature",
    "RequestReceived",
    "ResponseEnded",
    "ResponseReceived",
    "Servicer",
    "b64decode",
    "b64encode",
    "purerpc",
    "sanitize_headers",
]
