"""A client trusts an authority for its names, or exactly one certificate."""

import ssl
from pathlib import Path

import pytest

from shared.net.trust import client_context, trust, trust_itself
from tests.shared.net.handshakes import server_of, shake_hands
from tools.launch.certificates import Authority, Issued


def test_a_client_trusts_the_authority_for_its_names_alone(
    authority: Authority, issued: Issued, tmp_path: Path
) -> None:
    server = server_of(issued.settings()).context("h2")
    client = client_context("h2")
    trust(client, authority.file)
    shake_hands(client, server)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(client, server, host="chat.example.org")
    stranger = client_context("h2")
    trust(stranger, Authority(tmp_path / "other").file)
    with pytest.raises(ssl.SSLCertVerificationError, match="local issuer"):
        shake_hands(stranger, server)


def test_without_a_file_the_authorities_of_the_system_are_trusted(
    authority: Authority, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = server_of(issued.settings()).context("h2"), client_context("h2")
    trust(client, None)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    trust(client, None)
    shake_hands(client, server)


@pytest.mark.parametrize("ends", [4e9, 1.7e9], ids=["valid", "expired"])
def test_a_process_trusts_its_own_certificate_whatever_its_names_and_expiry(authority: Authority, ends: float) -> None:
    settings = authority.issue("own", "chat.example.org", begins=1.6e9, ends=ends).settings()
    client = client_context("h2")
    trust_itself(client, settings)
    shake_hands(client, server_of(settings).context("h2"), host="127.0.0.1")


def test_a_process_trusts_no_other_certificate_of_its_authority(authority: Authority, issued: Issued) -> None:
    client = client_context("h2")
    trust_itself(client, issued.settings())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server_of(authority.issue("other").settings()).context("h2"))
