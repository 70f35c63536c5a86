"""Settings: read once at start, from the environment (`ROOKERY_…`) over `rookery.toml` over these defaults.

`ROOKERY_BFF__PORT=9000` in the environment is `port = 9000` under `[bff]` in the file. An unknown or invalid key is an
error that names it. What may change while Rookery runs is in `shared/configuration/` instead.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the system choose a free one."""


def _split(value: object) -> object:
    """What a variable of the environment says, whose items are separated by commas; a file has a list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """They go into the page's policy, so that nothing else must be among them."""
    for origin in origins:
        if not re.fullmatch(r"wss?://[A-Za-z0-9.*-]+(:[0-9*]+)?", origin):
            raise ValueError(f"{origin!r} is not an origin such as wss://chat.example.org")
    return origins


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

ENV_PREFIX = "ROOKERY_"

Engine = Literal["kafka", "cassandra", "redis"]

TOPIC = r"^[A-Za-z0-9._-]{1,200}$"
"""What Kafka allows as the name of a topic."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BffSettings(_Section):
    """Where the HTTP API and the page listen."""

    host: str = "127.0.0.1"
    port: Port = 8080
    websocket_origins: Annotated[Names, AfterValidator(_check_origins)] = Field(
        default=(),
        description="Where the page may connect to besides the gateways of the moment, such as wss://*.example.org",
    )


class GatewaySettings(_Section):
    """Where sessions are accepted, and what clients are told of it."""

    host: str = "127.0.0.1"
    websocket_port: Port = 8081
    grpc_port: Port = 8082
    health_port: Port = 8091
    public_websocket: str = Field(
        default="", description="What browsers connect to, such as wss://chat.example.org/session"
    )
    public_grpc: str = Field(default="", description="What native apps connect to, such as chat.example.org:443")
    allowed_origins: Names = Field(
        default=(),
        description="Origins of pages that may connect, such as https://chat.example.org; without any, same host",
    )


class ArchiveSettings(_Section):
    """Where the archive answers queries."""

    host: str = "127.0.0.1"
    grpc_port: Port = 8083
    health_port: Port = 8093


class LogSettings(_Section):
    """The embedded log, where Kafka is not among the engines."""

    partitions: int = Field(default=4, ge=1, le=1024, description="Fixed when the data folder is made")
    retention_hours: float = Field(
        default=1.0, gt=0, le=24 * 365, description="For how long what everyone has read is kept"
    )


class KafkaSettings(_Section):
    """The backplane on Kafka."""

    servers: Names = Field(default=("127.0.0.1:9092",), min_length=1, description="host:port of some brokers")
    topic: str = Field(default="rookery.events", pattern=TOPIC, description="Of the envelopes")
    dead_letter_topic: str = Field(default="rookery.dead-letters", pattern=TOPIC, description="Of what can't be used")
    partitions: int = Field(
        default=12, ge=1, le=1024, description="Of the topic; fixed when `rookery migrate` makes it"
    )
    replication: int = Field(default=1, ge=1, le=7, description="Copies of the topic: 3 where none may be lost")
    min_in_sync: int = Field(default=1, ge=1, le=7, description="Copies that must have a record before it is accepted")
    retention_hours: float = Field(default=24.0, gt=0, le=24 * 365, description="For how long records are kept")
    instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this process in its consumer groups, the same after a restart; the host's name if empty",
    )
    session_timeout_seconds: float = Field(
        default=6.0, ge=1, le=60, description="Silence after which a process is taken for dead; brokers allow 6 or more"
    )
    security: str = Field(default="PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    sasl_mechanism: str = Field(default="SCRAM-SHA-512", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    username: str = ""
    password: SecretStr = SecretStr("")


class CassandraSettings(_Section):
    """The stores on Cassandra."""

    hosts: Names = Field(default=("127.0.0.1",), min_length=1, description="Some of the nodes")
    port: Annotated[int, Field(ge=1, le=65535)] = 9042
    keyspace: str = Field(default="rookery", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    local_datacenter: str = Field(default="datacenter1", min_length=1)
    replication: dict[str, Annotated[int, Field(ge=1, le=9)]] = Field(
        default={}, description="Copies by data centre, for when the keyspace is made; if empty, one in the local one"
    )
    consistency: str = Field(
        default="LOCAL_QUORUM", pattern="^(ONE|TWO|THREE|QUORUM|ALL|LOCAL_QUORUM|EACH_QUORUM|LOCAL_ONE)$"
    )
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = Field(default=None, description="Turns TLS on: who vouches for the nodes")
    certificate_file: Path | None = None
    key_file: Path | None = None
    max_requests: int = Field(default=256, ge=1, le=32_768, description="Under way at once, of one process")
    timeout_seconds: float = Field(default=2.0, gt=0, le=60, description="For one request")


class RedisSettings(_Section):
    """Live configuration, ownership and leases on Redis."""

    url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss:// (TLS)")
    prefix: str = Field(default="rookery:", min_length=1, max_length=64, description="Of every key and channel")
    timeout_seconds: float = Field(default=2.0, gt=0, le=60, description="For one command")


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: Path = Field(default=Path("data"), description="The folder with everything that is kept")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    stop_deadline: float = Field(default=8.0, gt=0, le=300, description="Seconds from SIGTERM to the end")
    engines: Annotated[frozenset[Engine], NoDecode, BeforeValidator(_split)] = Field(
        default=frozenset(), description="What stands in for the embedded log, stores and configuration"
    )
    archives: Names = Field(
        default=("127.0.0.1:8083",), min_length=1, description="host:port of the archives, for a BFF or gateway alone"
    )
    bff: BffSettings = BffSettings()
    gateway: GatewaySettings = GatewaySettings()
    archive: ArchiveSettings = ArchiveSettings()
    log: LogSettings = LogSettings()
    kafka: KafkaSettings = KafkaSettings()
    cassandra: CassandraSettings = CassandraSettings()
    redis: RedisSettings = RedisSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get(f"{ENV_PREFIX}FILE", "rookery.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)
