"""A cluster in which all that listens has TLS, and archives take known callers alone: to a user it is as any other."""

import signal
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from rookery.client.reconnector import Transport
from rookery.client.trust import client_tls
from tests.system.talk import TRANSPORTS, talking
from tools.engines.cassandra import Cassandra
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.certificates import Authority, Issued
from tools.launch.cluster import Cluster, Engines, running_cluster
from tools.launch.people import PATIENCE
from tools.launch.process import Process, port_of, wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """Whom this system trusts, here and in the processes of the cluster, and nobody else."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        client_tls.cache_clear()  # this process may have read it before, and must again after this module
        yield authority
    client_tls.cache_clear()


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    """What each process shows, to clients and to archives alike."""
    return authority.issue()


@pytest.fixture(scope="module")
def shared_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_server: Kafka,
    cassandra_server: Cassandra,
    redis_server: Redis,
    authority: Authority,
    issued: Issued,
) -> Iterator[Cluster]:
    """One for all tests here. None of its processes logs an error, and each stops cleanly at the end."""
    engines = Engines(kafka_server, cassandra_server, redis_server)
    files = {"CERTIFICATE_FILE": issued.certificate, "KEY_FILE": issued.key, "CLIENT_CA_FILE": authority.file}
    settings = {f"ROOKERY_TLS__{name}": str(file) for name, file in files.items()}
    with running_cluster(Cluster(tmp_path_factory.mktemp("cluster"), engines, settings=settings)) as ready:
        yield ready
        last = ready.running()
    assert [process.name for process in last if process.process.returncode != 0] == []
    for process in ready.processes:
        assert [line for line in process.log_lines() if line["level"] == "error"] == [], process.name


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """All of its processes run, whatever the test before has done to them."""
    shared_cluster.restore()
    return shared_cluster


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_gateway_that_is_stopped_moves_its_users_without_a_failed_send(
    cluster: Cluster, transport: Transport
) -> None:
    async with talking(cluster, transport) as talk:
        await talk.run_past(cluster.gateways[0].terminate)


async def test_an_archive_that_is_killed_is_not_missed(cluster: Cluster) -> None:
    async with talking(cluster, "grpc") as talk:
        await talk.run_past(cluster.archives[0].kill)


async def test_new_certificates_are_shown_by_all_while_people_talk(
    cluster: Cluster, authority: Authority, issued: Issued
) -> None:
    async with talking(cluster, "websocket") as talk:
        await talk.run_past(partial(renew, cluster, authority))
    listening = [address for process in cluster.processes for address in process.addresses.values()]
    assert {shown_on(authority, address) for address in listening} == {issued.newest}


def renew(cluster: Cluster, authority: Authority) -> None:
    """Put another certificate in the place of the one of all, and have each process read it."""
    authority.issue()
    for process in cluster.processes:
        process.signal(signal.SIGHUP)
    for process in cluster.processes:
        assert wait_until(partial(has_reloaded, process)), process.name


def has_reloaded(process: Process) -> bool:
    return "tls_reloaded" in {line["event"] for line in process.log_lines()}


def shown_on(authority: Authority, address: str) -> bytes | None:
    """The certificate that someone sees who connects now."""
    with (
        socket.create_connection(("127.0.0.1", port_of(address)), PATIENCE) as plain,
        authority.trusting("h2", "http/1.1").wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        return stream.getpeercert(True)
