"""What goes out with one's own calls: functions for `prepare` of `open_channel` and `open_balancer`."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.rpc.client.subchannel import Prepare
from shared.rpc.protocol import OutgoingCall

_propagator = TraceContextTextMapPropagator()


def send_token(token: str) -> Prepare:
    """Send a bearer token with each call."""
    return lambda call: call.with_metadata(("authorization", f"Bearer {token}"))


def propagate_trace(call: OutgoingCall) -> OutgoingCall:
    """Send the current span with the call, if there is one, so that the server's becomes its child."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return call.with_metadata(*carrier.items()) if carrier else call
