"""The facts of a certificate, and when to warn of its expiry."""

import pytest

from shared.net.certificates import read_certificate
from tools.launch.certificates import Authority

DAY = 86_400.0


@pytest.mark.parametrize(
    ("life", "warned"), [(90 * DAY, 14 * DAY), (365 * DAY, 14 * DAY), (5 * DAY, DAY), (3_600, 720)]
)
def test_warnings_begin_in_the_last_fifth_of_its_life(authority: Authority, life: float, warned: float) -> None:
    certificate = read_certificate(authority.issue(begins=1.7e9, ends=1.7e9 + life).certificate)
    assert (certificate.not_before, certificate.not_after) == (1.7e9, 1.7e9 + life)
    assert certificate.not_after - certificate.warn_from == pytest.approx(warned)


def test_a_certificate_lists_its_names(authority: Authority) -> None:
    assert read_certificate(authority.issue("x", "chat.example.org", "192.0.2.1").certificate).names == (
        "chat.example.org",
        "192.0.2.1",
    )
