"""The device token is kept in a file that only the user may read."""

import os
from pathlib import Path

import pytest

from rookery.client.device_token import DeviceToken


async def test_a_token_is_kept_in_a_file_of_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "device"
    assert await DeviceToken(path).load() == ""
    for token in ("eyJ.first", "eyJ.second"):
        await DeviceToken(path).save(token)
        assert await DeviceToken(path).load() == token
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert os.listdir(path.parent) == [path.name]


async def test_a_file_that_can_not_be_written_leaves_the_token_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / "device", Path("a\0b")):
        device = DeviceToken(path)
        await device.save("eyJ")
        assert await device.load() == "eyJ"


@pytest.mark.parametrize("content", [b"", b"\xff", b"two lines\n", b"x" * 2_049])
async def test_a_file_with_something_else_is_no_token(tmp_path: Path, content: bytes) -> None:
    """The server would refuse each sign-in with it."""
    (tmp_path / "device").write_bytes(content)
    assert await DeviceToken(tmp_path / "device").load() == ""
