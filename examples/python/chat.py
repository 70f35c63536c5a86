"""Chat with one user or group of a Rookery in the terminal, over gRPC with the stock library.

    CHAT_PASSWORD=... python chat.py http://127.0.0.1:8080 ada grace

signs in as ada, sends each line of the input to grace, and shows the messages of the chat. A line `/edit TEXT` replaces
the text of the message before, and `/send PATH` sends a file, such as a picture. In place of grace, the id of a group
may be given, such as g-12.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from api import Api, ApiError
from session import Session


class EndOfInput(Exception):
    """Every message is sent, and accepted or refused."""


async def chat(url: str, name: str, other: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=10) as http, asyncio.TaskGroup() as tasks:
        api = Api(http, name, os.environ["CHAT_PASSWORD"])
        my_id = await api.my_id()
        if other.startswith("g-"):
            chat_id, names = other, await api.members(other)
        else:
            other_id = await api.user_id(other)
            chat_id, names = f"d-{min(my_id, other_id)}-{max(my_id, other_id)}", {my_id: name, other_id: other}

        def show_message(sender_id: int, text: str) -> None:
            show(f"{names.get(sender_id, sender_id)}: {text}")

        session = Session(api, my_id, chat_id, tasks, show_message, show)
        async for line in lines():
            command, _, rest = line.partition(" ")
            try:
                if command == "/edit":
                    outcome = await session.edit(rest)
                elif command == "/send":
                    outcome = await session.send("", file_id=await api.upload(*read_file(rest)))
                else:
                    outcome = await session.send(line)
                show(f"{outcome}: {line}")
            except (OSError, ValueError, ApiError) as error:
                show(f"* the file can't be sent: {error}")
        raise EndOfInput  # which also ends the tasks


async def lines() -> AsyncIterator[str]:
    """Yield the lines of the input on demand. A thread reads them: asyncio can't wait for files."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[str](maxsize=1)

    def read() -> None:
        line = "\n"
        with open(0, errors="replace", closefd=False) as stdin:  # not sys.stdin: Python would wait for it at the exit
            while line:
                line = stdin.readline()
                asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    threading.Thread(target=read, daemon=True).start()
    while line := await queue.get():
        if line.strip():
            yield line.rstrip("\r\n")


def read_file(path: str) -> tuple[str, bytes]:
    """Return the name and the content. Raises OSError, and ValueError for a path with a NUL."""
    return Path(path).name, Path(path).read_bytes()


def show(text: str) -> None:
    """Remove control characters, with which a message could control the terminal."""
    print("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4 or "CHAT_PASSWORD" not in os.environ:
        sys.exit("usage: CHAT_PASSWORD=... python chat.py URL NAME OTHER")
    try:
        asyncio.run(chat(*sys.argv[1:]))
    except* (EndOfInput, KeyboardInterrupt):
        pass
    except* ApiError as errors:
        sys.exit(str(errors.exceptions[0]))
