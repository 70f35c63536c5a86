"""The methods of services as a server calls them: each is a handler of a stream, behind the interceptors."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import trio
from google.protobuf.message import Message

from rookery.purerpc_compat import Cardinality, RPCSignature, Servicer
from shared.contract.errors import Refusal
from shared.rpc.limits import Limits
from shared.rpc.refusals import error_of
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ServerStream

AnyServerStream = ServerStream[Any, Any]
Handler = Callable[[AnyServerStream], Awaitable[None]]
StreamMethod = TypeVar("StreamMethod", bound=Callable[[Any, AnyServerStream], Awaitable[None]])
Interceptor = Callable[[AnyServerStream, Handler], Awaitable[None]]
"""Runs in place of a handler, in the call's scope, and calls it: `await handler(stream)`. An exception of it ends the
call as one of the handler does."""


def stream_handler(method: StreamMethod) -> StreamMethod:
    """Mark a servicer's method as the handler of a call that streams in one or both directions.

    The method takes a ServerStream, and its return ends the call.
    """
    method.__dict__["handles_stream"] = True
    return method


@dataclass(frozen=True, slots=True)
class Method:
    """A method's handler, and the type of its requests."""

    handler: Handler
    request_type: type[Message]


class Methods:
    """All methods of a server."""

    def __init__(self, services: Sequence[Servicer], interceptors: Sequence[Interceptor], limits: Limits) -> None:
        """Raises TypeError for a method that is neither unary nor a `stream_handler`."""
        self._services = {servicer.service.name: _methods_of(servicer, interceptors, limits) for servicer in services}

    def find(self, service: str, method: str) -> Method | RpcError:
        """Return the method, or the error for an unknown one."""
        methods = self._services.get(service)
        if methods is None:
            return RpcError(Status.UNIMPLEMENTED, f"there is no service {service}")
        return methods.get(method) or RpcError(Status.UNIMPLEMENTED, f"there is no method {method} in {service}")


def _methods_of(servicer: Servicer, interceptors: Sequence[Interceptor], limits: Limits) -> dict[str, Method]:
    service = servicer.service
    return {
        name: _intercepted(
            _method(getattr(servicer, name), f"{service.name}/{name}", bound.signature, limits), interceptors
        )
        for name, bound in service.methods.items()
        if _has_own(servicer, name)
    }


def _has_own(servicer: Servicer, name: str) -> bool:
    """Whether the servicer overrides the method: a generated method is not served."""
    defined_by = next(owner for owner in type(servicer).__mro__ if name in vars(owner))
    return Servicer not in defined_by.__bases__


def _intercepted(method: Method, interceptors: Sequence[Interceptor]) -> Method:
    """Wrap the method in the interceptors, the first one outermost."""
    handler = method.handler
    for interceptor in reversed(interceptors):
        handler = _behind(interceptor, handler)
    return Method(handler, method.request_type)


def _behind(interceptor: Interceptor, handler: Handler) -> Handler:
    async def handle(stream: AnyServerStream) -> None:
        await interceptor(stream, handler)

    return handle


def _method(function: Callable[..., Awaitable[Any]], name: str, signature: RPCSignature, limits: Limits) -> Method:
    request_type = cast(type[Message], signature.request_type)
    if getattr(function, "handles_stream", False):
        return Method(function, request_type)
    if signature.cardinality is not Cardinality.UNARY_UNARY:
        raise TypeError(f"the handler of {name} must be a stream_handler, since the method streams")

    async def handle(stream: AnyServerStream) -> None:
        request = await _only_message(stream, limits.request_timeout)
        response = await function(request)
        if isinstance(response, Refusal):
            raise error_of(response)
        await stream.send(response)

    return Method(handle, request_type)


async def _only_message(stream: AnyServerStream, seconds: float) -> Message:
    """Return the message of a unary call. Raises RpcError unless exactly one arrives within `seconds`."""
    with trio.move_on_after(seconds):
        message: Message = await stream.receive_only()
        return message
    raise RpcError(Status.DEADLINE_EXCEEDED, f"the message did not arrive within {seconds:g} s")
