"""Settings: read once at start, from the environment (`ROOKERY_…`) over `rookery.toml` over these defaults.

`ROOKERY_BFF__PORT=9000` in the environment is `port = 9000` under `[bff]` in the file. An unknown or invalid key is an
error that names it. What may change while Rookery runs is in `shared/configuration/` instead.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the system choose a free one."""

ENV_PREFIX = "ROOKERY_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BffSettings(_Section):
    """Where the HTTP API and the page listen."""

    host: str = "127.0.0.1"
    port: Port = 8080


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
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of pages that may connect, such as https://chat.example.org; without any, same host",
    )


class ArchiveSettings(_Section):
    """Where the archive answers queries."""

    host: str = "127.0.0.1"
    grpc_port: Port = 8083
    health_port: Port = 8093


class LogSettings(_Section):
    """The embedded log."""

    partitions: int = Field(default=4, ge=1, le=1024, description="Fixed when the data folder is made")
    retention_hours: float = Field(
        default=1.0, gt=0, le=24 * 365, description="For how long what everyone has read is kept"
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

    data: Path = Field(default=Path("data"), description="The folder with everything that is kept")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    stop_deadline: float = Field(default=8.0, gt=0, le=300, description="Seconds from SIGTERM to the end")
    bff: BffSettings = BffSettings()
    gateway: GatewaySettings = GatewaySettings()
    archive: ArchiveSettings = ArchiveSettings()
    log: LogSettings = LogSettings()

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
