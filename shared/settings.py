"""Settings: read once at start, from the environment (`ROOKERY_…`) over `rookery.toml` over these defaults.

`ROOKERY_BFF__PORT=9000` in the environment is `port = 9000` under `[bff]` in the file. An unknown or invalid key is an
error that names it. Values that change while Rookery runs are in `shared/configuration/` instead.
"""

import os
import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from shared.contract.addresses import SECURE, GrpcAddress, is_loopback

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the system choose a free port."""


def _split(value: object) -> object:
    """Split the text of an environment variable at commas; a file has a list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Reject other text, since the origins are inserted into the page's Content-Security-Policy."""
    for origin in origins:
        if not re.fullmatch(r"wss?://[A-Za-z0-9.*-]+(:[0-9*]+)?", origin):
            raise ValueError(f"{origin!r} is not an origin such as wss://chat.example.org")
    return origins


def _check_address(address: str) -> str:
    if address:
        GrpcAddress.parse(address)
    return address


def _check_archives(archives: tuple[str, ...]) -> tuple[str, ...]:
    if len({GrpcAddress.parse(address).is_secure for address in archives}) > 1:
        raise ValueError(f"either all archives begin with {SECURE} or none does")
    return archives


def _check_token(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([!-+\--~]{16,}(,[!-+\--~]{16,})*)?", token.get_secret_value()):
        raise ValueError("must have at least 16 characters of ASCII, without spaces; several, with commas between them")
    return token


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]
"""Networks such as 10.0.0.0/8; a single address is a network of one."""

ENV_PREFIX = "ROOKERY_"

FILE_VARIABLE = f"{ENV_PREFIX}FILE"
"""The environment variable that names the file of the settings."""

Engine = Literal["kafka", "cassandra", "redis"]

TOPIC = r"^[A-Za-z0-9._-]{1,200}$"
"""Topic names that Kafka allows."""


ORIGIN = r"^(https?://[A-Za-z0-9.\-\[\]:]+)?$"
"""An URL without a path, or nothing."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def _require(self, needed: str, *names: str) -> None:
        """Raise ValueError for the first of these settings that is set while the setting `needed` is not."""
        for name in names:
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name} needs {needed}")


class TlsSettings(_Section):
    """TLS of all listeners, and of calls between processes. Files are PEM, and are loaded again when they change."""

    certificate_file: Path | None = Field(
        default=None, description="Enables TLS: the certificate, followed by the intermediate certificates"
    )
    key_file: Path | None = Field(default=None, description="Key of the certificate, if it is not in the same file")
    minimum_version: Literal["1.2", "1.3"] = Field(default="1.2", description="Lowest version of TLS for clients")
    plaintext: bool = Field(default=False, description="Allow plain text, without a certificate, beyond this machine")
    ca_file: Path | None = Field(
        default=None,
        description="Authorities of archives and gateways that are called by grpcs://; if empty, the system's",
    )
    client_ca_file: Path | None = Field(
        default=None, description="Authorities of the archive's clients: it rejects clients without their certificate"
    )
    client_certificate_file: Path | None = Field(
        default=None,
        description="Certificate for calls to archives, and for calls of BFFs to a gateway by a name that only this "
        "certificate has, if not certificate_file",
    )
    client_key_file: Path | None = Field(
        default=None, description="Key of client_certificate_file, if not in the same file"
    )

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        self._require("certificate_file", "key_file", "client_ca_file")
        self._require("client_certificate_file", "client_key_file")
        return self


class ConnectionSettings(_Section):
    """Bounds of clients' connections on which nobody has signed in yet, on all listeners of a process."""

    per_address: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Most of one IPv4 address, or one /64 of IPv6; a further one closes the oldest. At most a quarter "
        "of all connections",
    )
    idle_seconds: float = Field(default=30.0, gt=0, le=3600, description="Longest time without a call, over gRPC")
    total_seconds: float = Field(default=300.0, gt=0, le=86_400, description="Longest life, over gRPC and HTTP")


class BffSettings(_Section):
    """Listener of the HTTP API and the page."""

    host: str = "127.0.0.1"
    port: Port = 8080
    health_port: Port | None = Field(
        default=None, description="Port of metrics, which `port` has otherwise, and of probes, which both have"
    )
    websocket_origins: Annotated[Names, AfterValidator(_check_origins)] = Field(
        default=(),
        description="Origins to which the page may connect besides the current gateways, such as wss://*.example.org",
    )
    strict_transport_seconds: int = Field(
        default=0,
        ge=0,
        le=63_072_000,
        description="Seconds for which browsers that used HTTPS use only HTTPS, on all ports of the host; 0 for none",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks of load balancers whose X-Forwarded-For and X-Forwarded-Proto are trusted",
    )

    @property
    def probed_port(self) -> int:
        """The port for probes and metrics."""
        return self.port if self.health_port is None else self.health_port


class GatewaySettings(_Section):
    """Listeners of sessions, and their public addresses for clients."""

    host: str = "127.0.0.1"
    websocket_port: Port = 8081
    grpc_port: Port = 8082
    health_port: Port = 8091
    public_websocket: str = Field(
        default="", description="Public address for browsers, such as wss://chat.example.org/session"
    )
    public_grpc: Annotated[str, AfterValidator(_check_address)] = Field(
        default="", description="Public address for native apps, such as grpcs://chat.example.org:443"
    )
    internal_grpc: Annotated[str, AfterValidator(_check_address)] = Field(
        default="",
        description="Address for BFFs on other machines, such as gateway-1:8082, or grpcs://gateway-1:8082 with TLS; "
        "if empty, from host and grpc_port",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origins of pages that may connect, such as https://chat.example.org; if empty, the same host",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks of load balancers, which have no limit of connections per address; over WebSocket the "
        "client's address is taken from their X-Forwarded-For",
    )


class ArchiveSettings(_Section):
    """Listener of the archive's queries."""

    host: str = "127.0.0.1"
    grpc_port: Port = 8083
    health_port: Port = 8093


class LogSettings(_Section):
    """The embedded log, without the engine Kafka."""

    partitions: int = Field(default=4, ge=1, le=1024, description="Number of partitions, fixed in a data folder")
    retention_hours: float = Field(
        default=1.0,
        gt=0,
        le=24 * 365,
        description="Hours for which records are kept after every consumer has read them",
    )


class KafkaSettings(_Section):
    """The backplane on Kafka."""

    servers: Names = Field(default=("127.0.0.1:9092",), min_length=1, description="host:port of some brokers")
    topic: str = Field(default="rookery.events", pattern=TOPIC, description="Topic of the envelopes")
    dead_letter_topic: str = Field(
        default="rookery.dead-letters", pattern=TOPIC, description="Topic of unusable records"
    )
    partitions: int = Field(
        default=12, ge=1, le=1024, description="Partitions of the topic, fixed when `rookery migrate` creates it"
    )
    replication: int = Field(default=1, ge=1, le=7, description="Replicas of the topic: 3 in production")
    min_in_sync: int = Field(
        default=1, ge=1, le=7, description="Replicas that must have a record before it is accepted"
    )
    retention_hours: float = Field(default=24.0, gt=0, le=24 * 365, description="Hours for which records are kept")
    instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this process in its consumer groups, the same after a restart; the host's name if empty",
    )
    session_timeout_seconds: float = Field(
        default=6.0, ge=1, le=60, description="Silence after which a process counts as dead; brokers allow 6 or more"
    )
    security: str = Field(default="PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    sasl_mechanism: str = Field(default="SCRAM-SHA-512", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    username: str = ""
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        """Reject settings without effect: the connection would be plain text, or have no password."""
        for name in ("ca_file", "certificate_file", "key_file"):
            if getattr(self, name) is not None and not self.security.endswith("SSL"):
                raise ValueError(f"{name} needs security SSL or SASL_SSL, not {self.security}")
        if (self.username or self.password.get_secret_value()) and not self.security.startswith("SASL"):
            raise ValueError(f"username and password need security SASL_SSL or SASL_PLAINTEXT, not {self.security}")
        self._require("certificate_file", "key_file")
        return self


class CassandraSettings(_Section):
    """The stores on Cassandra."""

    hosts: Names = Field(default=("127.0.0.1",), min_length=1, description="Addresses of some of the nodes")
    port: Annotated[int, Field(ge=1, le=65535)] = 9042
    keyspace: str = Field(default="rookery", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    local_datacenter: str = Field(default="datacenter1", min_length=1)
    replication: dict[str, Annotated[int, Field(ge=1, le=9)]] = Field(
        default={}, description="Replicas by data centre for a new keyspace; if empty, one in the local data centre"
    )
    consistency: str = Field(
        default="LOCAL_QUORUM", pattern="^(ONE|TWO|THREE|QUORUM|ALL|LOCAL_QUORUM|EACH_QUORUM|LOCAL_ONE)$"
    )
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = Field(default=None, description="Enables TLS: the authorities of the nodes")
    certificate_file: Path | None = None
    key_file: Path | None = None
    max_requests: int = Field(default=256, ge=1, le=32_768, description="Most requests in flight of one process")
    timeout_seconds: float = Field(default=2.0, gt=0, le=60, description="Time-out of one request")

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        """Reject files without effect: the connection would be plain text."""
        self._require("ca_file", "certificate_file", "key_file")
        self._require("certificate_file", "key_file")
        return self


def _check_redis_url(url: SecretStr) -> SecretStr:
    """Reject another URL without showing it: often the mistake in it is a password that is not encoded."""
    try:
        parts = urlsplit(url.get_secret_value())
        is_misplaced = "@" in parts.path + parts.query + parts.fragment  # then it follows a /, ? or # in the password
        is_usable = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0 and not is_misplaced
    except ValueError:  # whose text may have a part of the password
        is_usable = False
    if not is_usable:
        raise ValueError(
            "it must be redis://USER:PASSWORD@HOST:PORT/0 (rediss:// for TLS), with special characters percent-encoded"
        )
    return url


class RedisSettings(_Section):
    """Live configuration, ownership and leases on Redis."""

    url: Annotated[SecretStr, AfterValidator(_check_redis_url)] = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss:// (TLS)"
    )
    prefix: str = Field(default="rookery:", min_length=1, max_length=64, description="Prefix of every key and channel")
    timeout_seconds: float = Field(default=2.0, gt=0, le=60, description="Time-out of one command")


class FilesSettings(_Section):
    """The bytes of files: in the data folder, or in a bucket of an S3-compatible object store."""

    url: str = Field(
        default="",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-]{1,100}){0,3})?$",
        description="s3://BUCKET or s3://BUCKET/PREFIX; if empty, the folder `files` of the data folder",
    )
    endpoint: str = Field(
        default="",
        pattern=ORIGIN,
        description="Address of the object store, such as https://minio.example.org:9000; if empty, Amazon's in the "
        "region. Requests have the bucket in their path",
    )
    public_endpoint: str = Field(
        default="",
        pattern=ORIGIN,
        description="Address of the object store for clients, which then download from there by signed links; if "
        "empty, they download from the BFF",
    )
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,50}$")
    access_key: str = Field(default="", pattern=r"^[!-~]*$")
    secret_key: SecretStr = SecretStr("")
    ca_file: Path | None = Field(
        default=None, description="Authorities of the object store's certificate; if empty, the system's"
    )
    connections: int = Field(
        default=512, ge=1, le=10_000, description="Most connections of one process: one for each transfer under way"
    )
    timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="Longest silence of the object store, and time-out of a small request"
    )
    scanner: str = Field(
        default="",
        pattern=r"^(/.{1,100}|[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5})?$",
        description="A ClamAV daemon that scans each file before it can be read: HOST:PORT, or the path of its socket; "
        "if empty, files are not scanned",
    )
    scanner_seconds: float = Field(default=120.0, gt=0, le=3600, description="Longest scan of one file")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.url and not (self.access_key and self.secret_key.get_secret_value()):
            raise ValueError("url needs access_key and secret_key")
        return self


def _check_proxy(proxy: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(http://([!-~]+@)?[^/@\s]+:[0-9]{1,5})?", proxy.get_secret_value()):
        raise ValueError("it must be http://HOST:PORT, with USER:PASSWORD@ before the host if needed")
    return proxy


class PreviewsSettings(_Section):
    """How gateways fetch the pages behind links. Whether they do is live: `link_previews`."""

    proxy: Annotated[SecretStr, AfterValidator(_check_proxy)] = Field(
        default=SecretStr(""),
        description="http://[USER:PASSWORD@]HOST:PORT of a proxy that fetches the pages: it has to refuse private "
        "addresses itself, since it resolves the names",
    )
    allowed_networks: Networks = Field(
        default=(),
        description="Private networks whose pages get previews, such as 10.20.0.0/16: any user may name them",
    )


class TracesSettings(_Section):
    """The collector of traces. The share of messages and requests that are traced is live: `trace_ratio`."""

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="URL of a collector for OTLP over HTTP, such as http://127.0.0.1:4318; if empty, nothing is traced",
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Headers of each request to the collector")
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="Time-out of one request to the collector")
    trust_callers: bool = Field(
        default=False, description="Continue the traces of callers of the BFF, behind a proxy that you trust"
    )


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: Path = Field(default=Path("data"), description="Folder of all stored data")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    stop_deadline: float = Field(default=8.0, gt=0, le=300, description="Seconds from SIGTERM to the end")
    engines: Annotated[frozenset[Engine], NoDecode, BeforeValidator(_split)] = Field(
        default=frozenset(), description="Engines that replace the embedded log, stores and configuration"
    )
    archives: Annotated[Names, AfterValidator(_check_archives)] = Field(
        default=("127.0.0.1:8083",),
        min_length=1,
        description="Archives, for a separate BFF or gateway: host:port, or grpcs://host:port with TLS",
    )
    archive_token: Annotated[SecretStr, AfterValidator(_check_token)] = Field(
        default=SecretStr(""),
        description="Secret for calls to archives, the same in all roles; of several, separated by commas, archives "
        "accept each, and the first is sent; empty for none",
    )
    tls: TlsSettings = TlsSettings()
    connections: ConnectionSettings = ConnectionSettings()
    bff: BffSettings = BffSettings()
    gateway: GatewaySettings = GatewaySettings()
    archive: ArchiveSettings = ArchiveSettings()
    log: LogSettings = LogSettings()
    kafka: KafkaSettings = KafkaSettings()
    cassandra: CassandraSettings = CassandraSettings()
    redis: RedisSettings = RedisSettings()
    files: FilesSettings = FilesSettings()
    previews: PreviewsSettings = PreviewsSettings()
    traces: TracesSettings = TracesSettings()

    @property
    def process_name(self) -> str:
        """The name of this process for people, in its reports and traces: `kafka.instance`, or the host's name and the
        process id. (Kafka's groups need a name that stays after a restart: without `kafka.instance` the host's.)"""
        return self.kafka.instance or f"{socket.gethostname()}-{os.getpid()}"

    @property
    def archive_tokens(self) -> tuple[str, ...]:
        """The tokens that archives accept. The first is the one to send."""
        return tuple(filter(None, self.archive_token.get_secret_value().split(",")))

    @model_validator(mode="after")
    def _require_tls(self) -> Self:
        """Reject plain text beyond this machine unless it is allowed. (The engines have settings of their own.)"""
        if not self.tls.plaintext and (problems := list(self._plain_text_problems())):
            raise ValueError("\n".join(problems))
        internal = self.gateway.internal_grpc
        if internal and self.tls.certificate_file and not GrpcAddress.parse(internal).is_secure:
            raise ValueError(f"`gateway.internal_grpc` is that of a listener with TLS: write {SECURE}{internal}")
        return self

    def _plain_text_problems(self) -> Iterator[str]:
        for section in ("bff", "gateway", "archive"):
            host = getattr(self, section).host
            if self.tls.certificate_file is None and not is_loopback(host):
                yield (
                    f"`{section}.host` ({ENV_PREFIX}{section.upper()}__HOST) is {host!r}, which other machines can "
                    f"reach, without TLS: set `tls.certificate_file` and `tls.key_file`, or, in a trusted network, "
                    f"`tls.plaintext` ({ENV_PREFIX}TLS__PLAINTEXT) to true"
                )
        called = [(f"`archives` ({ENV_PREFIX}ARCHIVES)", archive) for archive in self.archives]
        if self.gateway.internal_grpc:
            name = f"`gateway.internal_grpc` ({ENV_PREFIX}GATEWAY__INTERNAL_GRPC)"
            called.append((name, self.gateway.internal_grpc))
        for name, text in called:
            address = GrpcAddress.parse(text)
            if not address.is_secure and not is_loopback(address.host):
                yield (
                    f"{name} has {address.target}, which is called in plain text: write "
                    f"{SECURE}{address.target}, or set `tls.plaintext` ({ENV_PREFIX}TLS__PLAINTEXT) to true"
                )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())


def settings_file() -> Path:
    """Return the file of the settings. Raises OSError if the environment names one that can't be read."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        Path(named).open("rb").close()  # pydantic-settings would skip it; os.devnull stands for no settings
    return Path("rookery.toml" if named is None else named)
