"""The engines that the settings choose."""

from pathlib import Path

import pytest

from rookery.serve.engines import Coordination, open_loaded_routing, open_own_files
from shared.configuration import Live, LiveConfiguration
from shared.contract.errors import Unavailable
from shared.coordination.processes import LocalProcessRegistry
from shared.settings import CassandraSettings, Settings
from tests.shared.configuration.test_live import FakeStore
from tests.shared.files.conftest import settings_for


def platforms(folder: Path) -> list[Settings]:
    """Platforms with one data folder, each with a file table of its own."""
    on_cassandra = Settings(data=folder, engines=frozenset({"cassandra"}))
    other = on_cassandra.model_copy(update={"cassandra": CassandraSettings(keyspace="other")})
    return [Settings(data=folder), on_cassandra, other]


@pytest.mark.parametrize("first", range(3))
async def test_the_files_of_a_folder_are_opened_by_one_platform_only(first: int, tmp_path: Path) -> None:
    owner, *others = (platforms(tmp_path)[(first + number) % 3] for number in range(3))
    for _ in range(2):
        async with open_own_files(owner) as files:
            await files.keys()
    for other in others:
        with pytest.raises(Unavailable, match="ROOKERY_DATA"):
            async with open_own_files(other):
                pass


async def test_the_files_beside_an_embedded_platform_are_its_own_before_it_has_named_itself(tmp_path: Path) -> None:
    embedded, on_cassandra, _ = platforms(tmp_path)
    (tmp_path / "chats.db").touch()
    with pytest.raises(Unavailable, match="a platform on the embedded engines"):
        async with open_own_files(on_cassandra):
            pass
    async with open_own_files(embedded) as files:
        await files.keys()


async def test_a_bucket_that_does_not_answer_yet_can_be_opened() -> None:
    async with open_own_files(Settings(files=settings_for("http://127.0.0.1:1"))):
        pass


async def test_gateways_and_bffs_open_with_the_stored_configuration_and_not_with_its_defaults(tmp_path: Path) -> None:
    store, live = FakeStore(), Live.fixed(LiveConfiguration())
    store.values, store.down = {"sign_up": "invite"}, True
    coordination = Coordination(Settings(data=tmp_path), store, LocalProcessRegistry(tmp_path / "processes.json"))
    with pytest.raises(Unavailable, match="the fake is down"):
        async with open_loaded_routing(coordination, live):
            pass
    store.down = False
    async with open_loaded_routing(coordination, live):
        assert live.value.sign_up == "invite"
