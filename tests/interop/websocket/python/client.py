"""A browser's session in plain Python with the websockets library: runs each case, and prints its result.

python client.py URL TOKEN RECIPIENT
"""

import json
import secrets
import sys
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

SUBPROTOCOL = Subprotocol("rookery.v1.json")
PATIENCE = 30.0

url, token, recipient = sys.argv[1:]


def dial() -> ClientConnection:
    """A connection that offers compression, as websockets does by itself."""
    return connect(url, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE)


def sign_in() -> ClientConnection:
    connection = dial()
    connection.send(json.dumps({"authenticate": {"access_token": token}}))
    receive(connection, "welcome")
    return connection


def receive(connection: ClientConnection, kind: str) -> Any:
    """The next frame of a kind; others are passed over."""
    while kind not in (frame := json.loads(connection.recv(timeout=PATIENCE))):
        pass
    return frame[kind]


def close_code(connection: ClientConnection) -> int | None:
    """The code of the server's close; frames before it are passed over."""
    try:
        while True:
            connection.recv(timeout=PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def negotiated() -> Any:
    with dial() as connection:
        assert connection.response is not None
        return [connection.subprotocol, connection.response.headers.get("Sec-WebSocket-Extensions", "")]


def chat(cut: Callable[[str], Any] = str) -> Any:
    """Send a text, and print what another session of the same user receives."""
    with sign_in() as connection, sign_in() as other:
        message_id, text = secrets.token_hex(8), {"body": "grüße 👍"}
        command = {"send": {"client_message_id": message_id, "recipient_id": recipient, "text": text}}
        connection.send(cut(json.dumps(command, ensure_ascii=False)))
        receive(connection, "accepted")
        while (message := receive(other, "event").get("message", {})).get("client_message_id") != message_id:
            pass
        return message["text"]["body"]


def ping() -> Any:
    with sign_in() as connection:
        assert connection.ping("there?").wait(PATIENCE)
        return "there?"


def own_close() -> Any:
    with sign_in() as connection:
        connection.close(4000, "enough")
        return close_code(connection)


def goodbye() -> Any:
    with dial() as connection:
        connection.send('{"ping": {}}')
        return [receive(connection, "goodbye")["code"], close_code(connection)]


def closed_after(data: bytes, *, text: bool) -> Any:
    with sign_in() as connection:
        connection.send(data, text=text)
        return close_code(connection)


def status(address: str, subprotocol: str, origin: str | None = None) -> Any:
    try:
        with connect(address, subprotocols=[Subprotocol(subprotocol)], origin=Origin(origin) if origin else None):
            return "let in"
    except InvalidStatus as error:
        return error.response.status_code


CASES: dict[str, Callable[[], Any]] = {
    "negotiated": negotiated,
    "chat": chat,
    "fragments": lambda: chat(list),
    "ping": ping,
    "own close": own_close,
    "goodbye": goodbye,
    "binary": lambda: closed_after(b"{}", text=False),
    "not UTF-8": lambda: closed_after(b"\xff\xfe", text=True),
    "too big": lambda: closed_after(b"x" * 1_000_000, text=True),
    "path": lambda: status(url.replace("/session", "/elsewhere"), SUBPROTOCOL),
    "protocol": lambda: status(url, "chat"),
    "origin": lambda: status(url, SUBPROTOCOL, "http://evil.example"),
}

if __name__ == "__main__":
    for name, case in CASES.items():
        print(json.dumps({"case": name, "result": case()}), flush=True)
