"""The file of a device token."""

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from rookery.commands.terminal import chat as terminal_chat
from rookery.commands.terminal.device import device_file
from tests.rookery.commands.terminal.screens import FakeScreen


def test_each_account_of_each_server_has_a_file_in_the_state_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = device_file("https://chat.example.org", "ada")
    assert file == tmp_path / "rookery/devices/ada%40https%3A%2F%2Fchat.example.org"
    assert device_file("https://chat.example.org/", "Ada") == file
    assert len({file, device_file("https://example.org", "ada"), device_file("https://chat.example.org", "mira")}) == 3
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert device_file("http://127.0.0.1:8080", "ada") == (
        tmp_path / ".local/state/rookery/devices/ada%40http%3A%2F%2F127.0.0.1%3A8080"
    )


def test_a_user_without_a_home_folder_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert device_file("http://127.0.0.1:8080", "ada") is None


class EndedScreen(FakeScreen):
    """Its input has ended."""

    async def lines(self) -> AsyncIterator[str]:
        for line in list[str]():
            yield line


async def test_a_chat_presents_the_token_that_the_one_before_received(
    open_fake_client: Callable[..., Any],
    bff: Any,
    gateway: Any,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def open_client(_: str, __: str, password: str, **options: Any) -> Any:
        return open_fake_client(password, **options)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(terminal_chat, "open_screen", lambda: nullcontext(EndedScreen()))
    monkeypatch.setattr(terminal_chat, "open_client", open_client)
    for _ in range(2):
        nursery.start_soon(gateway.welcome_next)
        assert await terminal_chat.run_chat("http://bff", "ada", "correct horse", None, None) == 0
    assert [body["device_token"] for body in bff.bodies if "password" in body] == ["", "device-1"]
