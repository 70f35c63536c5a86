"""Imports the parts of purerpc 0.8.0 that we use beside h2 4.3 and newer. All other modules import them from here.

purerpc uses one h2 class by its name before h2 4, which is restored first. And it patches h2 for the whole process:
the patches are reverted, since h2 contains those fixes itself.
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
