"""The distributed platform on a node: two of each role on real Kafka, Cassandra and Redis, with TLS between the pods.

It is installed; while two users chat, it is upgraded, loses pods, is scaled up and down, and gets another
certificate; and it is removed.
"""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from cassandra.cluster import Cluster
from kafka import KafkaConsumer

from rookery.client import Client, HistoryMessage, open_api
from shared.contract.chats import direct_chat_id
from tools.engines.kinds import Engines
from tools.launch.certificates import Authority, Issued
from tools.launch.cluster import running_engines
from tools.launch.people import PAGE, PASSWORD
from tools.operations.kubernetes import ApiServer, Manifest
from tools.operations.node.chat import Chat, open_chat
from tools.operations.node.embedded import volume
from tools.operations.node.machine import NODE, kill_container, statuses
from tools.operations.node.release import RELEASE, Release, role_of, serves
from tools.operations.node.rollout import Rollout, watched
from tools.operations.node.waiting import PATIENCE, POLL_SECONDS, timed, until

NAMESPACE, NAME = "many", f"{RELEASE}-rookery"

BFFS = f"{NAME}-bff.{NAMESPACE}.svc"

HOSTS = (
    BFFS,
    f"{NAME}-archive.{NAMESPACE}.svc",
    f"*.{NAME}-gateway.{NAMESPACE}.svc",
    f"*.{NAMESPACE}.pod",  # for requests to a certain BFF
)
"""Names in the certificate of all pods: the names of docs/kubernetes.md, and one for this run."""

FILES = "rookery-files"
"""The volume of files, and its claim, which BFFs and archives share."""

HEALTH_PORTS = {"archive": 8093, "gateway": 8091, "bff": 8090}

SMALL = {"replicas": 2, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}}


def run_distributed(folder: Path, server: ApiServer) -> None:
    """Install, use, upgrade and remove the distributed platform. Raises AssertionError if a promise is broken."""
    authority = Authority(folder / "authority")
    with running_engines(folder / "engines", host=NODE, redis={"protected-mode": "no"}) as engines:
        release = Release(folder, server, NAMESPACE, values_for(engines))
        put_secret(release, "rookery-archive", "Opaque", token="a-token-of-24-characters")
        put_certificate(release, authority)
        put_volume(release, folder)
        with timed("installed: two of each role have passed their probes"):
            release.apply()
        check_migrated_first(release)
        sent = trio.run(live, release, authority)
        release.remove()
        check_stored(engines, sent)


def values_for(engines: Engines) -> dict[str, Any]:
    return {
        "tls": {"secretName": "rookery-tls"},
        "archiveToken": {"secretName": "rookery-archive"},
        "kafka": {
            "servers": [engines.kafka.address],
            "security": "PLAINTEXT",
            "partitions": 8,
            "replication": 1,
            "minInSync": 1,
        },
        "cassandra": {"hosts": [NODE], "port": engines.cassandra.port},
        "redis": {"url": engines.redis.url},
        "files": {"claimName": FILES},
        "archive": SMALL,
        "gateway": SMALL,
        "bff": SMALL,
    }


def put_certificate(release: Release, authority: Authority) -> Issued:
    """Issue a new certificate into the Secret."""
    issued = authority.issue("pods", *HOSTS)
    files = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": authority.file}
    put_secret(release, "rookery-tls", "kubernetes.io/tls", **{name: file.read_text() for name, file in files.items()})
    return issued


def put_secret(release: Release, name: str, kind: str, **data: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data}
    release.server.apply(secret, namespace=NAMESPACE).raise_for_status()


def put_volume(release: Release, folder: Path) -> None:
    """Create the volume of files, and its claim."""
    release.server.apply(volume(folder, FILES, "ReadWriteMany")).raise_for_status()
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": FILES,
        "resources": {"requests": {"storage": "20Gi"}},
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": FILES}, "spec": spec}
    release.server.apply(claim, namespace=NAMESPACE).raise_for_status()


def check_migrated_first(release: Release) -> None:
    (job,) = release.server.list("batch/v1", "Job", NAMESPACE)
    pods = release.pods()
    assert len(pods) == 6
    assert all(map(serves, pods))
    assert all(pod["metadata"]["creationTimestamp"] >= job["status"]["completionTime"] for pod in pods)
    print("the migration completed before the first pod was created", flush=True)


# ---- while people chat


async def live(release: Release, authority: Authority) -> int:
    """Change the release while two users chat; return the number of messages."""
    async with open_chat(f"https://{BFFS}:8080", authority.file) as chat:

        async def run(description: str, change: Callable[[Release], None]) -> Rollout:
            with watched(release) as rollout:
                statistics = await chat.during(partial(change, release))
            print(f"{description} {statistics}", *rollout.replaced, sep="\n    ", flush=True)
            return rollout

        places = [await gateway_of(client) for client in chat.clients]
        assert len({*places}) == 2
        print(f"two users chat: over gRPC at {places[0]}, over WebSocket at {places[1]}", flush=True)
        check_order(await run("every pod replaced", upgrade))
        await run("a gateway killed", partial(kill_pod, await gateway_of(chat.clients[0])))
        await run("an archive killed", partial(kill_pod, f"{NAME}-archive-0"))
        await run("a gateway more", partial(scale, 3))
        await run("a gateway less", partial(scale, 2))
        await run("a gateway evicted", evict)
        await run("another certificate", partial(renew_certificate, authority))
        assert all(status["restartCount"] == 0 for pod in release.pods() for status in statuses(pod))
        for pod in release.pods("bff"):
            await check_history(pod, chat, authority.file)
    print("both BFFs return each message once", flush=True)
    return sum(map(len, chat.sent.values()))


def upgrade(release: Release) -> None:
    """Roll all pods by a common setting."""
    release.apply("--set", "logLevel=debug")


def check_order(rollout: Rollout) -> None:
    """Pods of a role were replaced one at a time, the last first; a new BFF was added before one was removed."""
    for role in ("archive", "gateway"):
        assert rollout.order_of(role) == [f"{role}-1", f"{role}-0"]
    assert rollout.fewest == {"archive": 1, "gateway": 1, "bff": 2}


def kill_pod(name: str, release: Release) -> None:
    """Kill a pod's process and delete the pod, without a graceful stop."""
    pod = release.pod(name)
    kill_container(pod)
    path = release.server.path("v1", "Pod", name, NAMESPACE)
    release.server.client.delete(path, params={"gracePeriodSeconds": 0}).raise_for_status()
    until("another pod is ready", lambda: is_another(release, pod))


def is_another(release: Release, pod: Manifest) -> bool:
    """Whether the pod was replaced, and its successor is ready."""
    found = release.server.get("v1", "Pod", pod["metadata"]["name"], NAMESPACE)
    return found is not None and found["metadata"]["uid"] != pod["metadata"]["uid"] and serves(found)


def scale(gateways: int, release: Release) -> None:
    release.apply("--set", f"logLevel=debug,gateway.replicas={gateways}")


def evict(release: Release) -> None:
    """Evict pods as a drain does: one gateway stops, the other must stay until there are two again."""
    first, second = release.pods("gateway")
    until("one gateway may be evicted", lambda: request_eviction(release, first) == 201)
    assert request_eviction(release, second) == 429
    until("another pod is ready", lambda: is_another(release, first))


def request_eviction(release: Release, pod: Manifest) -> int:
    """Status code of the API server."""
    metadata = {"name": pod["metadata"]["name"], "namespace": NAMESPACE}
    path = release.server.path("v1", "Pod", metadata["name"], NAMESPACE)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    return release.server.client.post(f"{path}/eviction", json=eviction).status_code


def renew_certificate(authority: Authority, release: Release) -> None:
    """Replace the certificate in the Secret; each pod uses it soon, without a restart."""
    newest = put_certificate(release, authority).newest
    until("each pod uses the certificate", lambda: all(certificate_of(pod) == newest for pod in release.pods()))


def certificate_of(pod: Manifest) -> bytes:
    """The certificate of the probe listener."""
    where = pod["status"]["podIP"], HEALTH_PORTS[role_of(pod)]
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(where))


async def gateway_of(client: Client) -> str:
    """The pod of the session's gateway."""
    address = await client.api.gateway()
    return address.grpc.removeprefix("grpcs://").partition(".")[0]


# ---- afterwards


async def check_history(bff: Manifest, chat: Chat, ca_file: Path) -> None:
    """Check that a BFF returns each accepted message once."""
    url = f"https://{bff['status']['podIP'].replace('.', '-')}.{NAMESPACE}.pod:8080"
    chat_id = direct_chat_id(*chat.sent)
    async with open_api(url, chat.clients[0].me.name, PASSWORD, ca_file=ca_file) as api:
        await api.sign_in()
        found: list[HistoryMessage] = []
        with trio.fail_after(PATIENCE):
            while len(found) < sum(map(len, chat.sent.values())):
                page = await api.history(chat_id, limit=PAGE, after_id=found[-1].message.message_id if found else 0)
                found += page.messages
                await trio.sleep(0 if page.messages else POLL_SECONDS)
    for user, sent in chat.sent.items():
        assert [item.message.message_id for item in found if item.message.sender_id == user] == sent


def check_stored(engines: Engines, sent: int) -> None:
    """Check that messages are still in Cassandra, and the topic in Kafka."""
    consumer = KafkaConsumer(bootstrap_servers=engines.kafka.address)
    assert "rookery.events" in consumer.topics()
    consumer.close()
    with Cluster([NODE], port=engines.cassandra.port) as cluster:
        (row,) = cluster.connect("rookery").execute("SELECT count(*) FROM messages_by_chat")
    assert row.count == sent
    print("all messages are stored", flush=True)
