"""Connections, blocks and reports over HTTP."""

from typing import Any

from rookery.client import Client, Connection


async def test_connections_and_blocks_are_read_and_changed_and_users_reported(client: Client, bff: Any) -> None:
    connection = {"user_id": "9", "state": "invited", "since_ms": "5"}
    bff.answers |= {
        "GET /v1/me/connections": (200, {"connections": [connection]}),
        "PUT /v1/me/connections/9": (200, {"connection": connection}),
        "GET /v1/me/blocks": (200, {"user_ids": ["9", "10"]}),
        "POST /v1/reports": (201, {"report_id": "77"}),
    }
    people, changes = client.people, ("DELETE /v1/me/connections/9", "PUT /v1/me/blocks/9", "DELETE /v1/me/blocks/9")
    bff.answers |= dict.fromkeys(changes, (204, {}))
    assert await people.connections() == [await people.connect(9)] == [Connection(9, "invited", 5)]
    assert await people.blocks() == [9, 10]
    for change, request_line in zip((people.disconnect, people.block, people.unblock), changes, strict=True):
        await change(9)
        assert bff.requests[-1] == request_line
    assert await people.report(9, "Rude.", chat_id="d-7-9", message_ids=[5]) == 77
    assert bff.bodies[-1] == {"user_id": "9", "chat_id": "d-7-9", "message_ids": ["5"], "reason": "Rude."}
