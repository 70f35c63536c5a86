"""An echo gateway on both real transports, with TLS or without."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
import trio_websocket

from rookery.client.websocket import SUBPROTOCOL
from rookery.v1 import session_pb2 as pb
from rookery.v1.session_grpc import SessionServiceServicer
from shared.background import open_background
from shared.contract.wire import from_json, to_json
from shared.net.listening import listen, port_of
from shared.net.tls import ServerTls
from shared.rpc import ServerStream, serve_rpc, stream_handler

PATH = "/session?to=me"
"""The target of its WebSocket. Targets outside of /session get 404."""


class EchoGateway(SessionServiceServicer):
    """Welcomes every client, accepts every message and sends it back as another user's.

    In the first session, the text `close` ends the connection, and `nonsense` gets an undecodable answer (WebSocket).
    """

    def __init__(self) -> None:
        self.sessions = 0
        self.authenticate = pb.Authenticate()
        self.protocols: tuple[str, ...] = ()
        self.target = ""
        self.chat_ids: set[str] = set()
        """The chats to which messages were sent; empty for a recipient."""
        self._sequence = self._received = 0

    @stream_handler
    async def Connect(self, input_messages: ServerStream[pb.ClientFrame, pb.ServerFrame]) -> None:
        first = await input_messages.receive()
        if first is not None:
            await input_messages.send(self._welcome(first))
        while (frame := await input_messages.receive()) is not None and not self._is_told("close", frame):
            for answer in self._answers(frame.send):
                await input_messages.send(answer)

    async def serve_websocket(self, stream: trio.abc.Stream) -> None:
        async with open_background() as background:
            with suppress(trio.BrokenResourceError, trio_websocket.ConnectionClosed):
                await self._serve_request(await trio_websocket.wrap_server_stream(background, stream))

    async def _serve_request(self, request: trio_websocket.WebSocketRequest) -> None:
        self.protocols, self.target = tuple(request.proposed_subprotocols), request.path
        if not request.path.startswith("/session"):
            await request.reject(404)
            return
        websocket = await request.accept(subprotocol=SUBPROTOCOL)
        await websocket.send_message(to_json(self._welcome(await _receive(websocket))).decode())
        while not self._is_told("close", frame := await _receive(websocket)):
            if self._is_told("nonsense", frame):
                await websocket.send_message("{")
                continue
            for answer in self._answers(frame.send):
                await websocket.send_message(to_json(answer).decode())
        await websocket.aclose()

    def _is_told(self, text: str, frame: pb.ClientFrame) -> bool:
        return frame.send.text.body == text and self.sessions == 1

    def _welcome(self, first: pb.ClientFrame) -> pb.ServerFrame:
        self.sessions += 1
        self._sequence = self._received = 1
        self.authenticate = first.authenticate
        welcome = pb.Welcome(session_id="s", user_id=7, limits=pb.Limits(max_unanswered_sends=8))
        return pb.ServerFrame(sequence=1, welcome=welcome)

    def _answers(self, send: pb.Send) -> list[pb.ServerFrame]:
        key, message_id = send.client_message_id, self.sessions * 100 + self._sequence
        self._received += 1
        self.chat_ids.add(send.chat_id)
        accepted = pb.Accepted(frame=self._received, client_id=key, event_id=message_id, chat_id="d-7-9")
        echo = pb.Message(message_id=message_id + 1_000, sender_id=9, client_message_id=key, text=send.text)
        event = pb.Event(event_id=echo.message_id, position=pb.Position(offset=message_id, epoch=1), message=echo)
        self._sequence += 2
        return [
            pb.ServerFrame(sequence=self._sequence - 1, accepted=accepted),
            pb.ServerFrame(sequence=self._sequence, event=event),
        ]


Serve = Callable[[EchoGateway, trio.Nursery, ServerTls | None], Awaitable[str]]


async def serve_grpc(gateway: EchoGateway, nursery: trio.Nursery, tls: ServerTls | None = None) -> str:
    """Serve in the nursery; return the endpoint."""
    listeners = await listen("127.0.0.1", 0, tls=tls, alpn="h2")
    await nursery.start(serve_rpc, [gateway], listeners)
    return f"{'grpcs://' if tls else ''}127.0.0.1:{port_of(listeners)}"


async def serve_websocket(gateway: EchoGateway, nursery: trio.Nursery, tls: ServerTls | None = None) -> str:
    """Serve in the nursery; return the URL."""
    listeners = await listen("127.0.0.1", 0, tls=tls)
    await nursery.start(trio.serve_listeners, gateway.serve_websocket, listeners)
    return f"{'wss' if tls else 'ws'}://127.0.0.1:{port_of(listeners)}{PATH}"


async def _receive(websocket: trio_websocket.WebSocketConnection) -> pb.ClientFrame:
    frame = from_json(pb.ClientFrame, await websocket.get_message())
    assert isinstance(frame, pb.ClientFrame)
    return frame
