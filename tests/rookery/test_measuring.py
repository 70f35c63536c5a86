"""The load generator and the checker as people run them, against a real Rookery."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tools.launch.process import Rookery, running

NOTHING = "http://127.0.0.1:1"
"""A URL at which no server listens."""

PARTITIONS = 4
"""Of the embedded log."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    with running(Rookery(tmp_path_factory.mktemp("measuring") / "data")) as ready:
        yield ready


def run(platform: Rookery, *words: str) -> dict[str, Any]:
    """Run the command; return its result."""
    ended = platform.run(*words, "--json")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


@pytest.mark.slow
def test_a_verification_finds_nothing_wrong_though_one_bff_is_down(platform: Rookery) -> None:
    urls = ("--url", NOTHING, "--url", platform.url)
    result = run(platform, "verify", *urls, "--clients", "10", "--messages", "500")
    assert result["violations"] == []
    assert result["sent"] + result["not_members"] == 500
    assert result["accepted"] == result["sent"] == result["archived"] + result["in_groups"]
    assert result["delivered"] > result["accepted"] > result["in_groups"] > 0 < result["controls"]
    assert 0 < result["to_accepted"]["p50"] <= result["to_accepted"]["p99"] <= result["to_accepted"]["max"]
    assert (result["refused"], result["reconnects"], result["gaps"]) == ({}, 0, 0)


@pytest.mark.slow
def test_background_load_changes_nothing(platform: Rookery) -> None:
    options = ("--clients", "4", "--messages", "100", "--rate", "100", "--slow-clients", "1", "--churn", "100")
    result = run(platform, "verify", "--url", platform.url, *options)
    assert (result["churned"], result["churn_failed"], result["violations"]) == (100, 0, [])


@pytest.mark.parametrize("transport", ["websocket", "grpc"])
def test_a_load_with_registered_or_stored_users_delivers_everything(platform: Rookery, transport: str) -> None:
    users = ("--data", str(platform.data)) if transport == "grpc" else ()
    words = ("--users", "4", "--rate", "50", "--seconds", "0.5", "--warm-up", "0.1", "--transport", transport)
    result = run(platform, "load", "--url", platform.url, *words, *users)
    report = result["report"]
    assert report["sent"] == report["accepted"]["count"] == report["delivered"]["count"] > 5
    assert (report["lost"], report["refused"], report["errors"]) == (0, {}, {})
    assert result["server_pids"] == [platform.process.pid]


@pytest.mark.slow
@pytest.mark.parametrize("sign_up", ["open", "invite"])
def test_a_load_signs_in_with_the_password_in_its_file_and_explains_another_one(
    platform: Rookery, sign_up: str
) -> None:
    words = ("load", "--url", platform.url, "--users", "2", "--rate", "20", "--seconds", "0.2", "--warm-up", "0")
    assert platform.run(*words, "--password-file", "load.password").returncode == 0
    try:
        assert platform.run("config", "set", "sign_up", sign_up).returncode == 0
        for file, code in (("load.password", 0), ("other.password", 1)):
            ended = platform.run(*words, "--password-file", file)
            assert ended.returncode == code
            assert ("need the --password-file" in ended.stderr) == bool(code)
    finally:
        platform.run("config", "unset", "sign_up")


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["websocket", "grpc"])
def test_a_load_of_a_channel_shows_heads_and_counts_a_record_for_each_partition(
    platform: Rookery, transport: str
) -> None:
    metrics = platform.addresses["gateway_health"].replace("readyz", "metrics")
    words = ("--data", str(platform.data), "--transport", transport, "--metrics", metrics, "--warm-up", "0.2")
    channel = ("--group", "1001", "--online", "5", "--open", "3", "--rate", "4", "--seconds", "1")
    result = run(platform, "load", "--url", platform.url, *words, *channel)
    report, counted = result["report"], result["counted"]
    assert (report["lost"], report["duplicates"], report["refused"], report["errors"]) == (0, 0, {}, {})
    assert report["delivered"]["count"] == 2 * report["sent"] > 0 < report["heads"]
    assert counted["records"] == PARTITIONS * counted["accepted"] > 0 < counted["writes"] <= 2 * counted["accepted"]
    assert counted["roster_bytes"] > 0
    assert 0 < result["creation_seconds"] < 60
