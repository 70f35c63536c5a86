"""Files of TLS that can't be used are named, before any node is asked."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from shared.drivers.cassandra.driver import connect
from shared.net.pem import UnusableCertificate
from shared.settings import CassandraSettings
from tools.launch.certificates import Authority


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_file_of_authorities_that_can_not_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "authorities.pem"
    if content:
        file.write_bytes(content)
    with pytest.raises(UnusableCertificate, match=str(file)):
        connect(CassandraSettings(ca_file=file))


def test_a_key_that_is_missing_or_has_a_password_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    files = {"ca_file": authority.file, "certificate_file": issued.certificate}
    with pytest.raises(UnusableCertificate, match=r"no file .*none\.key"):
        connect(CassandraSettings.model_validate({**files, "key_file": tmp_path / "none.key"}))
    key = load_pem_private_key(issued.key.read_bytes(), None)
    issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    with pytest.raises(UnusableCertificate, match=r"server\.key is protected by a password"):
        connect(CassandraSettings.model_validate({**files, "key_file": issued.key}))
