"""Settings that would send plain text beyond this machine are refused unless they allow it; and settings with lists."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from shared.settings import CassandraSettings, KafkaSettings, RedisSettings, Settings, TlsSettings

PEM = Path("server.pem")


@pytest.mark.parametrize("section", ["bff", "gateway", "archive"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "chat.example.org"])
def test_a_listener_that_others_reach_needs_a_certificate(section: str, host: str) -> None:
    beyond: dict[str, Any] = {section: {"host": host}}
    with pytest.raises(ValidationError) as refused:
        Settings(**beyond)

    variable = f"ROOKERY_{section.upper()}__HOST"
    for named in (variable, host, "tls.certificate_file", "tls.key_file", "ROOKERY_TLS__PLAINTEXT"):
        assert named in str(refused.value)
    assert getattr(Settings(**beyond, tls=TlsSettings(certificate_file=PEM)), section).host == host
    assert getattr(Settings(**beyond, tls=TlsSettings(plaintext=True)), section).host == host


def test_each_listener_that_is_refused_is_named() -> None:
    with pytest.raises(ValidationError, match=r"`bff\.host`(.|\n)*`archive\.host`"):
        Settings.model_validate({"bff": {"host": "::"}, "archive": {"host": "::"}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_plain_text_is_allowed(host: str) -> None:
    Settings.model_validate({name: {"host": host} for name in ("bff", "gateway", "archive")})


def test_archives_and_gateways_beyond_this_machine_are_called_with_tls_archives_all_or_none() -> None:
    with pytest.raises(ValidationError, match="grpcs://archive-1:8083"):
        Settings(archives=("127.0.0.1:8083", "archive-1:8083"))
    Settings(archives=("archive-1:8083",), tls=TlsSettings(plaintext=True))
    Settings(archives=("grpcs://archive-1:8083", "grpcs://archive-2:8083"))
    with pytest.raises(ValidationError, match="all archives"):
        Settings(archives=("grpcs://127.0.0.1:1", "127.0.0.1:2"))
    with pytest.raises(ValidationError, match=r"internal_grpc(.|\n)*grpcs://gateway-1:8082"):
        Settings.model_validate({"gateway": {"internal_grpc": "gateway-1:8082"}})
    with pytest.raises(ValidationError, match=r"internal_grpc(.|\n)*grpcs://127"):
        Settings.model_validate({"gateway": {"internal_grpc": "127.0.0.1:8082"}, "tls": {"certificate_file": "a.pem"}})


@pytest.mark.parametrize("address", ["nonsense", "host:1:2", "grpc://host:1"])
def test_invalid_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="not a host and a port"):
        Settings(archives=(address,))
    with pytest.raises(ValidationError, match="not a host and a port"):
        Settings.model_validate({"gateway": {"public_grpc": address}})


@pytest.mark.parametrize(
    "alone", [{"key_file": PEM}, {"client_ca_file": PEM}, {"client_key_file": PEM}], ids=lambda files: next(iter(files))
)
def test_a_file_without_its_counterpart_is_refused(alone: dict[str, Path]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(alone))} needs"):
        TlsSettings.model_validate(alone)


@pytest.mark.parametrize(
    ("kafka", "needed"),
    [
        ({"ca_file": PEM}, "ca_file needs security SSL or SASL_SSL, not PLAINTEXT"),
        ({"ca_file": PEM, "security": "SASL_PLAINTEXT"}, "ca_file needs security SSL or SASL_SSL"),
        ({"certificate_file": PEM}, "certificate_file needs security SSL"),
        ({"key_file": PEM}, "key_file needs security SSL"),
        ({"key_file": PEM, "security": "SSL"}, "key_file needs certificate_file"),
        ({"username": "rookery"}, "username and password need security SASL_SSL"),
        ({"password": "secret", "security": "SSL"}, "username and password need security SASL_SSL"),
    ],
)
def test_settings_of_kafka_that_its_security_does_not_use_are_refused(kafka: dict[str, Any], needed: str) -> None:
    with pytest.raises(ValidationError, match=needed):
        KafkaSettings.model_validate(kafka)


def test_settings_of_kafka_that_its_security_uses_are_accepted() -> None:
    files: dict[str, Any] = {"ca_file": PEM, "certificate_file": PEM}
    user: dict[str, Any] = {"username": "rookery", "password": "secret"}
    for security, used in {"SSL": files, "SASL_PLAINTEXT": user, "SASL_SSL": files | user, "PLAINTEXT": {}}.items():
        KafkaSettings.model_validate({"security": security, **used})


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        (["certificate_file"], "certificate_file needs ca_file"),
        (["key_file"], "key_file needs ca_file"),
        (["ca_file", "key_file"], "key_file needs certificate_file"),
    ],
)
def test_files_of_cassandra_without_effect_are_refused(files: list[str], needed: str) -> None:
    with pytest.raises(ValidationError, match=needed):
        CassandraSettings.model_validate(dict.fromkeys(files, PEM))


def test_of_several_archive_tokens_the_first_is_the_one_to_send() -> None:
    old, new = "a" * 16, "b" * 16
    assert Settings(archive_token=SecretStr(f"{old},{new}")).archive_tokens == (old, new)
    assert Settings(archive_token=SecretStr(old)).archive_tokens == (old,)
    assert Settings().archive_tokens == ()


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ({"url": "s3://bucket"}, "access_key"),
        ({"url": "s3://bucket/../other"}, "url"),
        ({"url": "https://bucket"}, "url"),
        ({"endpoint": "https://s3.example.org/path"}, "endpoint"),
    ],
)
def test_an_object_store_needs_keys_and_plain_names(files: dict[str, str], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings.model_validate({"files": files})
    keys = {"access_key": "key", "secret_key": "secret"}
    Settings.model_validate({"files": {"url": "s3://bucket/a/b", "endpoint": "http://[::1]:9000", **keys}})


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@host",
        "unix:///secret",
        "redis://:secret@/0",
        "redis://:secret@host:port/0",
        "redis://:secret@host:0/0",
        "redis://:sec/ret@host:6379/0",
        "redis://user:12/secret@host",
        "redis://user:12?secret@host",
        "redis://user:12#secret@host",
        "redis://:secret@[::1",
    ],
)
def test_a_url_of_redis_that_can_not_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RedisSettings.model_validate({"url": url})
    (error,) = refused.value.errors()
    assert error["loc"] == ("url",)
    assert "redis://USER:PASSWORD@HOST:PORT/0" in error["msg"]
    assert "sec" not in error["msg"]


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host/1", "rediss://user:p%2Fss@[::1]:6380/0?ssl_ca_certs=/ca.pem"]
)
def test_a_url_of_redis_needs_a_host_alone(url: str) -> None:
    assert RedisSettings.model_validate({"url": url}).url.get_secret_value() == url
