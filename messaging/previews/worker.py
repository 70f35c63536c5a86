"""The process that fetches pages: `python -I -m messaging.previews.worker`. It reads and writes the lines of
`protocol.py`, and ends with its standard input.

It has an empty environment, opens no file, and has limits on memory and CPU: a page that takes it over finds no
database and no user, but the network of its machine, and the password of `previews.proxy`. Run gateways in a network
with few reachable hosts, or set a proxy.
"""

import codecs
import os
from collections.abc import AsyncIterator
from ipaddress import ip_network

import msgspec
import trio

from messaging.previews.connections import Connector
from messaging.previews.fetching import Page, fetch
from messaging.previews.metadata import CODECS, Metadata
from messaging.previews.protocol import Lines, PageRequest, PageResponse, Setup
from shared import sandbox

MEMORY_BYTES = 1 << 30
"""Most bytes of address space. Only on Linux."""

CPU_SECONDS = 600
"""Most seconds of CPU; then the process ends, and the previewer starts another one."""

OPEN_FILES = 128

READ_BYTES = 64 << 10

NOTHING = Page(Metadata())


async def serve(requests: trio.abc.ReceiveStream, answers: trio.abc.SendStream) -> None:
    """Answer requests until there are no more. Raises msgspec.MsgspecError and ValueError for other lines."""
    lines = _lines(requests)
    setup = msgspec.json.decode(await anext(lines), type=Setup)
    connector = Connector(setup.proxy, [ip_network(network) for network in setup.allowed_networks])
    turn = trio.Lock()

    async def answer(request: PageRequest) -> None:
        try:
            page = await fetch(request.url, connector) or NOTHING
        except Exception:  # supervises one page: a fault in it does not end the others
            page = NOTHING
        metadata = page.metadata
        texts = metadata.title, metadata.description, metadata.site_name
        async with turn:
            await answers.send_all(msgspec.json.encode(PageResponse(request.number, *texts, page.picture)) + b"\n")

    async with trio.open_nursery() as nursery:
        async for line in lines:
            nursery.start_soon(answer, msgspec.json.decode(line, type=PageRequest))


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    lines = Lines()
    while data := await stream.receive_some(READ_BYTES):
        for line in lines.receive(bytes(data)):
            yield line


def drop_privileges() -> None:
    """Set the limits. Python's own files may not be readable for nobody: the encodings are loaded before."""
    for name in ("idna", *CODECS):
        codecs.lookup(name)
    sandbox.drop_privileges(MEMORY_BYTES, CPU_SECONDS, open_files=OPEN_FILES, may_start=True)  # threads resolve names


if __name__ == "__main__":
    drop_privileges()
    trio.run(serve, trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1)))
