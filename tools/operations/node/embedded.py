"""The embedded platform on a node: install, chat, upgrade, read history, remove."""

import os
from pathlib import Path

import trio

from rookery.client import open_client
from tools.launch.people import PASSWORD
from tools.operations.kubernetes import ApiServer, Manifest
from tools.operations.node.release import RELEASE, Release
from tools.operations.node.waiting import timed

NAMESPACE, POD = "people", f"{RELEASE}-rookery-0"

VALUES = {"mode": "embedded", "tls": {"plaintext": True}}


def run_embedded(folder: Path, server: ApiServer) -> None:
    """Install, use, upgrade and remove the embedded platform. Raises AssertionError if a promise is broken."""
    server.apply(volume(folder, "data", "ReadWriteOnce")).raise_for_status()
    release = Release(folder, server, NAMESPACE, VALUES)
    with timed("installed: the pod has passed its probes"):
        release.apply()
    first = release.pod(POD)
    text = f"sent to {first['metadata']['uid']}"
    chat_id = trio.run(send_message, address_of(first), text)
    with timed("upgraded: another pod, ready, on the same volume"):
        release.apply("--set", "logLevel=debug")
    second = release.pod(POD)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    trio.run(check_history, address_of(second), chat_id, text)
    print("the history has the message", flush=True)
    release.remove()
    assert server.get("v1", "PersistentVolumeClaim", f"data-{POD}", NAMESPACE) is not None
    print("the volume claim is kept", flush=True)


async def send_message(url: str, text: str) -> str:
    """Register two users; one sends to the other. Returns their chat."""
    async with (
        open_client(url, "ada", PASSWORD, register=True) as ada,
        open_client(url, "grace", PASSWORD, register=True, transport="websocket"),
    ):
        grace = await ada.api.find_user("grace")
        sent = await ada.send(grace.user_id, text)
        return sent.chat_id


async def check_history(url: str, chat_id: str, text: str) -> None:
    """Sign in as the receiver, and read the history."""
    async with open_client(url, "grace", PASSWORD) as grace:
        history = await grace.api.history(chat_id)
        assert [item.message.text.body for item in history.messages] == [text]


def volume(folder: Path, name: str, access_mode: str) -> Manifest:
    """A folder that is writable for the pods' user."""
    data = folder / name
    data.mkdir()
    os.chown(data, 10001, 10001)
    spec = {"capacity": {"storage": "20Gi"}, "accessModes": [access_mode], "hostPath": {"path": str(data)}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def address_of(pod: Manifest) -> str:
    return f"http://{pod['status']['podIP']}:8080"
