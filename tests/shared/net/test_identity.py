"""A process calls its own listeners with an identity of its own."""

import ssl
from pathlib import Path

import pytest

from shared.net.tls import Tls
from tests.shared.net.handshakes import shake_hands
from tools.launch.certificates import Authority


@pytest.mark.parametrize("ends", [4e9, 1.7e9], ids=["valid", "expired"])
@pytest.mark.parametrize("clients", ["certificates", "inside"])
def test_a_process_gets_into_its_own_archive_and_no_other_process_does(
    tmp_path: Path, clients: str, ends: float
) -> None:
    """Whatever the expiry of its server certificate, and whether or not the authority of clients issued that."""
    issued = Authority(tmp_path / "certificates").issue(begins=1.6e9, ends=ends)
    settings = issued.settings(client_ca_file=Authority(tmp_path / clients).file)
    tls, other = Tls(settings), Tls(settings)
    assert tls.server is not None
    client = tls.to_itself()
    for reload in (False, True):
        if reload:
            tls.load()
        archive = tls.server.context("h2", trusted_clients_only=True)
        shake_hands(client, archive, host="127.0.0.1")
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
            shake_hands(other.to_itself(), archive, host="127.0.0.1")
