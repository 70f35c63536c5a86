"""The engines on which the contract suite runs. A further twin needs a line in ENGINES."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from pydantic import SecretStr

from rookery.serve.engines import open_files as open_files_of
from shared.files.protocol import FileStore
from shared.settings import FilesSettings, Settings
from tests.needed import needed
from tests.waiting import PATIENCE
from tools.engines.engine import running
from tools.engines.moto import Moto

OpenFiles = Callable[[], AbstractAsyncContextManager[FileStore]]
"""Opens the one store of a test. Opening it twice is how two processes share it."""


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An object store for all tests of this process: each uses a bucket of its own."""
    needed(Moto.install)
    with running(Moto(tmp_path_factory.mktemp("engines") / Moto.name)) as moto:
        yield moto


@pytest.fixture
def s3_settings(s3_server: Moto) -> FilesSettings:
    """A new bucket, in which the store has a prefix."""
    bucket = f"files-{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    return settings_for(s3_server.url, bucket=bucket, timeout_seconds=PATIENCE)


def settings_for(endpoint: str, *, bucket: str = "bucket", timeout_seconds: float = 0.2) -> FilesSettings:
    return FilesSettings(
        url=f"s3://{bucket}/of/rookery",
        endpoint=endpoint,
        public_endpoint=endpoint,
        access_key="key",
        secret_key=SecretStr("secret"),
        timeout_seconds=timeout_seconds,
    )


def folder(request: pytest.FixtureRequest) -> OpenFiles:
    settings = Settings(data=request.getfixturevalue("tmp_path"))
    return lambda: open_files_of(settings)


def s3(request: pytest.FixtureRequest) -> OpenFiles:
    settings = Settings(files=request.getfixturevalue("s3_settings"))
    return lambda: open_files_of(settings)


ENGINES = {"folder": folder, "s3": s3}


@pytest.fixture(params=sorted(ENGINES))
def open_files(request: pytest.FixtureRequest) -> OpenFiles:
    return ENGINES[request.param](request)


@pytest.fixture
async def files(open_files: OpenFiles) -> AsyncIterator[FileStore]:
    async with open_files() as files:
        yield files
