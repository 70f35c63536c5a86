"""The client over real gRPC, against a session service that answers by a script."""

from typing import Any

import pytest
import trio

from rookery.client import Message, Unreachable, open_client
from rookery.client.connection import connect_grpc
from rookery.v1 import session_pb2 as pb
from rookery.v1.session_grpc import SessionServiceServicer
from shared.rpc import ServerStream, serve_rpc, stream_handler

Stream = ServerStream[pb.ClientFrame, pb.ServerFrame]


class EchoService(SessionServiceServicer):
    """Welcomes everyone, accepts every message and sends it back as another's, and hangs up when told to."""

    def __init__(self) -> None:
        self.sessions = 0

    @stream_handler
    async def Connect(self, input_messages: Stream) -> None:
        stream = input_messages
        self.sessions += 1
        await stream.receive()
        welcome = pb.Welcome(session_id="s", user_id=7, limits=pb.Limits(max_unanswered_sends=8))
        await stream.send(pb.ServerFrame(sequence=1, welcome=welcome))
        sequence = 1
        while (frame := await stream.receive()) is not None:
            if frame.send.text.body == "hang up" and self.sessions == 1:
                return
            for answer in answers(frame.send, message_id=self.sessions * 100 + sequence):
                sequence += 1
                answer.sequence = sequence
                await stream.send(answer)


def answers(send: pb.Send, message_id: int) -> list[pb.ServerFrame]:
    echo = pb.Message(
        message_id=message_id + 1_000, sender_id=9, client_message_id=send.client_message_id, text=send.text
    )
    accepted = pb.Accepted(client_message_id=send.client_message_id, message_id=message_id, chat_id="d-7-9")
    event = pb.Event(event_id=echo.message_id, position=pb.Position(offset=message_id, epoch=1), message=echo)
    return [pb.ServerFrame(accepted=accepted), pb.ServerFrame(event=event)]


@pytest.fixture
async def endpoint(nursery: trio.Nursery) -> str:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(serve_rpc, [EchoService()], [listener])
    return f"127.0.0.1:{listener.socket.getsockname()[1]}"


async def test_messages_go_out_and_come_in(endpoint: str, bff: Any) -> None:
    bff.endpoint = endpoint
    async with open_client("http://bff", "ada", bff.password, http_transport=bff.transport) as client:
        await client.send(9, "hello")
        events = client.events()
        while not isinstance(event := await anext(events), Message):
            pass
    assert event.text.body == "hello"


async def test_a_message_survives_a_connection_that_ends(endpoint: str, bff: Any) -> None:
    bff.endpoint = endpoint
    async with open_client("http://bff", "ada", bff.password, http_transport=bff.transport) as client:
        accepted = await client.send(9, "hang up")
    assert accepted.message_id > 200  # taken by the second session


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "nonsense"])
async def test_an_endpoint_that_does_not_answer_is_unreachable(endpoint: str) -> None:
    with pytest.raises(Unreachable):
        async with connect_grpc(endpoint):
            pass
