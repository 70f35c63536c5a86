"""An authority of a test, and a certificate that it issued."""

from pathlib import Path

import pytest

from tools.launch.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue()
