"""The README's Python example runs, with another address."""

import re
import subprocess
import sys
from pathlib import Path

import trio

from rookery.client import Client, Message, open_client
from tools.launch.people import PASSWORD, PATIENCE
from tools.launch.process import Rookery

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


async def test_the_python_example_sends_and_prints_the_answer(own_rookery: Rookery) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for name in ("ada", "grace-2"):
        async with open_client(own_rookery.url, name, PASSWORD, register=True):
            pass
    script = example.replace("http://127.0.0.1:8080", own_rookery.url)
    async with open_client(own_rookery.url, "grace", PASSWORD, register=True) as grace:
        process = await trio.lowlevel.open_process([sys.executable, "-uc", script], stdout=subprocess.PIPE)
        try:
            with trio.fail_after(PATIENCE):
                hello = await next_message(grace)
                assert hello.text.body == "Hello"
                await grace.send(hello.sender_id, "Good morning")
                assert process.stdout is not None
                printed = b""
                while not printed.endswith(b"\n"):
                    printed += await process.stdout.receive_some()
                assert printed == b"Good morning\n"
        finally:
            process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


async def next_message(client: Client) -> Message:
    """The next message; ignores other events."""
    async for event in client.events():
        if isinstance(event, Message):
            return event
    raise AssertionError("the session has ended")
