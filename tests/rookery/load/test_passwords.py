"""Each run has a random password, or that of its file."""

import stat
from pathlib import Path

import pytest

from rookery.load.passwords import new_password, password_in


def test_a_missing_file_is_created_with_a_random_password_for_its_owner_only(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    passwords = {password_in(file) for file in (first, second, first, second)}
    assert len(passwords) == 2
    assert all(10 <= len(password) <= 128 for password in passwords)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_file_that_somebody_has_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("correct horse battery\nstaple\n")
    assert password_in(tmp_path / "file") == "correct horse battery"


def test_of_two_runs_at_once_both_have_the_password_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"

    def create_meanwhile() -> str:
        file.write_text("of the other run\n")
        return new_password()

    monkeypatch.setattr("rookery.load.passwords.new_password", create_meanwhile)
    assert password_in(file) == "of the other run"
