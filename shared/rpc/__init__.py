"""gRPC on Trio: a server and a client on purerpc's sans-I/O connection. No other package uses purerpc's internals.

`serve_rpc` serves the servicers that are generated into `rookery/v1/*_grpc.py`. `open_channel` opens a channel to one
server, `open_balancer` to several; `call_unary` and `open_stream` call the methods of the stubs on them.
"""

from rookery.purerpc_compat import Servicer
from shared.rpc.client.balanced import Balancer, open_balancer
from shared.rpc.client.calls import call_unary, open_stream
from shared.rpc.client.channel import Channel, open_channel
from shared.rpc.client.statistics import ChannelStatistics
from shared.rpc.client.subchannel import Prepare
from shared.rpc.limits import Limits
from shared.rpc.protocol import OutgoingCall
from shared.rpc.server.server import serve_rpc, stream_handler
from shared.rpc.status import Metadata, RpcError, Status
from shared.rpc.streams import ClientStream, ServerStream

__all__ = [
    "Balancer",
    "Channel",
    "ChannelStatistics",
    "ClientStream",
    "Limits",
    "Metadata",
    "OutgoingCall",
    "Prepare",
    "RpcError",
    "ServerStream",
    "Servicer",
    "Status",
    "call_unary",
    "open_balancer",
    "open_channel",
    "open_stream",
    "serve_rpc",
    "stream_handler",
]
