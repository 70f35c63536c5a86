"""The checker as people run it, against a real Rookery that nobody breaks."""

import json
from collections.abc import Iterator

import pytest

from tools.launch.process import Rookery, running


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    with running(Rookery(tmp_path_factory.mktemp("verify") / "data")) as ready:
        yield ready


def test_a_whole_run_finds_nothing_wrong(platform: Rookery) -> None:
    done = platform.run("verify", "--url", platform.url, "--clients", "10", "--messages", "1000", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["violations"] == []
    assert [result[what] for what in ("sent", "accepted", "delivered", "archived")] == [1_000] * 4
    assert 0 < result["to_accepted"]["p50"] <= result["to_accepted"]["p99"] <= result["to_accepted"]["max"]
    assert (result["refused"], result["reconnects"], result["gaps"]) == ({}, 0, 0)


def test_a_crowd_changes_nothing_and_leaves_nothing_behind(platform: Rookery) -> None:
    options = ("--clients", "4", "--messages", "100", "--rate", "100", "--slow-clients", "1", "--churn", "100")
    done = platform.run("verify", "--url", platform.url, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "churned        100; 0 failed" in done.stdout
    assert "violations     0" in done.stdout


def test_without_a_server_it_says_so_and_exits_2(platform: Rookery) -> None:
    done = platform.run("verify", "--url", "http://127.0.0.1:1", "--clients", "2")
    assert done.returncode == 2
    assert "no answer from http://127.0.0.1:1" in done.stderr


def test_with_one_bff_down_another_is_asked(platform: Rookery) -> None:
    urls = ("--url", "http://127.0.0.1:1", "--url", platform.url)
    done = platform.run("verify", *urls, "--clients", "4", "--messages", "100")
    assert done.returncode == 0, done.stdout + done.stderr
