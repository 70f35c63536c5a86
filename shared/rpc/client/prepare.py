"""Functions for the `prepare` argument of `open_channel` and `open_balancer`."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.rpc.client.subchannel import Prepare
from shared.rpc.protocol import OutgoingCall

_propagator = TraceContextTextMapPropagator()


def send_token(token: str) -> Prepare:
    """Return a function that adds a bearer token to each call."""
    return lambda call: call.with_metadata(("authorization", f"Bearer {token}"))


def propagate_trace(call: OutgoingCall) -> OutgoingCall:
    """Add the current span, if any, to the call, so that the server's span becomes its child."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return call.with_metadata(*carrier.items()) if carrier else call
