"""The background load reaches gateways by both transports, with a certificate of the plan's authority."""

from typing import Any

import pytest
import trio

from rookery.client import GatewayEndpoints
from rookery.client.reconnector import Transport
from rookery.verify.background_load import Churn, SlowClient
from rookery.verify.plan import TRANSPORTS
from shared.net.tls import ServerTls
from tests.rookery.client.gateways import EchoGateway, serve_grpc, serve_websocket
from tests.waiting import until
from tools.launch.certificates import Authority, Issued

USER_ID = 7


class SignedIn:
    """A client, and its API, whose sessions are on a gateway."""

    def __init__(self, endpoints: GatewayEndpoints) -> None:
        self._endpoints = endpoints
        self.api = self.me = self
        self.user_id = USER_ID

    async def gateway(self) -> GatewayEndpoints:
        return self._endpoints

    async def access_token(self) -> str:
        return "token"

    def submit(self, recipient_id: int, text: str) -> None:
        assert recipient_id == USER_ID


@pytest.fixture
def gateway() -> EchoGateway:
    return EchoGateway()


@pytest.fixture
async def client(gateway: EchoGateway, issued: Issued, nursery: trio.Nursery) -> Any:
    tls = ServerTls(issued.settings(), issued.certificate)
    endpoints = [await serve(gateway, nursery, tls) for serve in (serve_websocket, serve_grpc)]
    return SignedIn(GatewayEndpoints(*endpoints))


async def test_sessions_open_and_close_with_a_certificate_of_the_plans_authority(
    client: Any, gateway: EchoGateway, authority: Authority
) -> None:
    churn = Churn([client], 4, authority.file)
    await churn.run()
    assert (churn.opened, churn.failed, gateway.sessions) == (4, 0, 4)
    untrusting = Churn([client], 4, None)
    await untrusting.run()
    assert (untrusting.opened, untrusting.failed) == (0, 4)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_slow_client_holds_a_session_with_a_certificate_of_the_plans_authority(
    client: Any, gateway: EchoGateway, authority: Authority, nursery: trio.Nursery, transport: Transport
) -> None:
    slow = SlowClient(client.api, client, transport, reads=False, ca_file=authority.file)
    nursery.start_soon(slow.run)
    await until(lambda: gateway.sessions == 1)
