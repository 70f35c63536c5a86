"""Handshakes in memory, without a socket."""

import ssl

from shared.net.tls import ServerTls
from shared.settings import TlsSettings


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> ssl.SSLObject:
    """Run both ends of a handshake in memory, and return the client's. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {ours.do_handshake, theirs.do_handshake}
    for _ in range(10):
        for step in tuple(waiting):
            try:
                step()
                waiting.remove(step)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return ours


def server_of(settings: TlsSettings) -> ServerTls:
    assert settings.certificate_file is not None
    return ServerTls(settings, settings.certificate_file)
