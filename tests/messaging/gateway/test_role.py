"""The gateway's role: it opens its listeners, and then owns partitions."""

import json

import httpx
import pytest
import trio
import trio_websocket

from messaging.gateway import sign_in
from messaging.gateway.role import open_gateway
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.configuration.sqlite import open_sqlite_configuration
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import WAITED_RETRY_MS
from shared.coordination.processes import LocalProcessRegistry
from shared.platform import Platform as Engines
from shared.settings import GatewaySettings
from shared.telemetry.health import Health
from tests.messaging.gateway.harness import ANN, Platform, ScriptedLog
from tests.waiting import PATIENCE, until
from tools.engines.engine import free_port, is_free


async def test_while_a_gateway_waits_for_partitions_it_answers_its_clients(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listeners have accepted their connections: silence would cost them the deadline of their welcome. To
    probes it is live, and not ready."""
    monkeypatch.setattr(sign_in, "OWNER_SECONDS", 0.01)
    settings = GatewaySettings(websocket_port=free_port(), grpc_port=0, health_port=free_port())
    async with open_sqlite_configuration(platform.folder / "configuration.db") as configuration:
        engines = Engines(
            ScriptedLog(), platform.accounts, configuration, platform.directory, SnowflakeGenerator(1),
            Live.fixed(LiveConfiguration()), LocalProcessRegistry(platform.folder / "processes.json"), platform.signals,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def open_role() -> None:
                async with open_gateway(settings, engines, history=platform.history, health=Health()):
                    raise AssertionError("it was never assigned a partition")

            await until(lambda: not is_free(settings.websocket_port))
            url = f"ws://127.0.0.1:{settings.websocket_port}/session"
            async with trio_websocket.open_websocket_url(url, subprotocols=["rookery.v1.json"]) as websocket:
                await websocket.send_message(json.dumps({"authenticate": {"access_token": await platform.token(ANN)}}))
                with trio.fail_after(PATIENCE):
                    frame = json.loads(await websocket.get_message())
            assert frame["reconnect"] == {"after_ms": WAITED_RETRY_MS}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.health_port}", timeout=PATIENCE) as http:
                assert [(await http.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")] == [
                    200,
                    503,
                    200,
                ]
            nursery.cancel_scope.cancel()
