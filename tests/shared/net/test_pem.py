"""Files that can't be used are named, with the reason; and no password is ever asked for."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from shared.net.pem import UnusableCertificate, first_certificate, load_authorities, load_pair
from tools.launch.certificates import Authority, Issued


def load(certificate: Path, key: Path | None) -> None:
    load_pair(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), certificate, key)


def test_a_key_may_be_in_the_file_of_its_certificate_which_is_the_first(issued: Issued) -> None:
    issued.certificate.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    load(issued.certificate, None)
    assert ssl.PEM_cert_to_DER_cert(first_certificate(issued.certificate)) == issued.newest


def test_comments_around_a_certificate_may_have_any_bytes(issued: Issued) -> None:
    newest = issued.newest
    issued.certificate.write_bytes("# Zürich\n".encode() + b"\xff\n" + issued.certificate.read_bytes())
    load(issued.certificate, issued.key)
    assert ssl.PEM_cert_to_DER_cert(first_certificate(issued.certificate)) == newest


def test_files_that_are_not_there_are_named(issued: Issued, tmp_path: Path) -> None:
    with pytest.raises(UnusableCertificate, match=f"^there is no file {tmp_path}/none.key$"):
        load(issued.certificate, tmp_path / "none.key")
    with pytest.raises(UnusableCertificate, match=r"no file .*none\.pem and no .*none\.key"):
        load(tmp_path / "none.pem", tmp_path / "none.key")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_a_certificate_is_explained(issued: Issued, content: bytes) -> None:
    issued.certificate.write_bytes(content)
    with pytest.raises(UnusableCertificate, match=r"server\.pem with .*server\.key can't be used: \S"):
        load(issued.certificate, issued.key)
    with pytest.raises(UnusableCertificate, match=r"server\.pem can't be used: \S"):
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), issued.certificate)
    if b"BEGIN" not in content:
        with pytest.raises(UnusableCertificate, match="no certificate as PEM"):
            first_certificate(issued.certificate)


def test_a_key_of_another_certificate_and_a_folder_are_explained(issued: Issued, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").issue()
    with pytest.raises(UnusableCertificate, match="the key is not the certificate's"):
        load(issued.certificate, other.key)
    with pytest.raises(UnusableCertificate, match="can't be"):
        load(tmp_path, issued.key)


def test_a_key_with_a_password_is_refused_without_a_question(issued: Issued) -> None:
    key = load_pem_private_key(issued.key.read_bytes(), None)
    issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    with pytest.raises(UnusableCertificate, match="protected by a password"):
        load(issued.certificate, issued.key)
