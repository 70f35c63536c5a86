"""Kafka's thread and how it connects."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from shared.backplane.kafka import client as kafka_client
from shared.backplane.kafka.backplane import open_kafka
from shared.backplane.kafka.client import connection_options, open_kafka_loop
from shared.backplane.kafka.topics import migrate_topics
from shared.contract.errors import Unavailable
from shared.net.pem import UnusableCertificate
from shared.settings import KafkaSettings
from tests.waiting import PATIENCE
from tools.engines.engine import free_port
from tools.launch.certificates import Authority


async def test_the_assertions_distinguish_the_two_threads() -> None:
    async with open_kafka_loop(KafkaSettings()) as loop:

        async def in_kafka_thread(check: Callable[[], None]) -> None:
            check()

        loop.assert_in_trio_thread()
        await loop.call("", PATIENCE, lambda: in_kafka_thread(loop.assert_in_kafka_thread))
        with pytest.raises(AssertionError, match="only Kafka's thread"):
            loop.assert_in_kafka_thread()
        with pytest.raises(AssertionError, match="only Trio's thread may do this, not kafka"):
            await loop.call("", PATIENCE, lambda: in_kafka_thread(loop.assert_in_trio_thread))


async def test_a_call_is_unavailable_after_its_time_and_when_the_loop_is_closed() -> None:
    async with open_kafka_loop(KafkaSettings()) as loop:
        with pytest.raises(Unavailable, match=r"too slow: Kafka did not answer within 0 s"):
            await loop.call("too slow", 0, lambda: loop.net.sleep(0.1))
    with pytest.raises(Unavailable, match="too late: the connection to Kafka is closed"):
        await loop.call("too late", PATIENCE, lambda: loop.net.sleep(0.1))
    loop.call_soon(pytest.fail)


async def test_a_broker_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "CONNECT_TIMEOUT", 0.3)
    settings = KafkaSettings(servers=(f"127.0.0.1:{free_port()}",))
    uses: list[Callable[[], Awaitable[Any]]] = [open_kafka(settings).__aenter__, lambda: migrate_topics(settings)]
    for use in uses:
        with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1"):
            await use()


async def test_a_file_of_tls_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {"ca_file": authority.file, "certificate_file": authority.issue().certificate}
    for name, file in {"ca_file": "none.pem", "key_file": "none.key"}.items():
        settings = KafkaSettings.model_validate({"security": "SSL", **files, name: tmp_path / file})
        with pytest.raises(UnusableCertificate, match=file):
            await open_kafka(settings).__aenter__()


def test_settings_decide_how_to_connect() -> None:
    sasl = {"security": "SASL_SSL", "ca_file": "/ca.pem", "username": "rookery", "password": "secret"}
    options = connection_options(KafkaSettings.model_validate({"servers": "a:1, b:2", **sasl}))
    assert (
        options.items()
        >= {
            "ssl_cafile": "/ca.pem",
            "ssl_certfile": None,
            "ssl_keyfile": None,
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "rookery",
            "sasl_plain_password": "secret",
        }.items()
    )
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    plain = connection_options(KafkaSettings())
    assert not any(name.startswith(("ssl", "sasl")) for name in plain)
