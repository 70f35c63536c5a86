"""A deletion of an account is completed even if its request is cancelled or times out, or the store is away."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest
import structlog
import trio
from trio.testing import MockClock

from bff import deletions
from bff.deletions import Deletions
from bff.files.avatars import Avatars
from bff.http.endpoints import REQUEST_DEADLINE
from shared.accounts.audit import Actor
from shared.background import open_background
from shared.contract.errors import Unavailable
from tests.bff.conftest import PASSWORD, Api, Reply, disconnect_after_write
from tests.waiting import until

Delete = Callable[[], Awaitable[Reply]]


@pytest.fixture
async def delete(api: Api, token: str) -> Delete:
    """Makes alice delete her account."""
    return partial(api.call, "POST", "/v1/me/deletion", {"current_password": PASSWORD}, token=token)


async def nothing_is_left(api: Api) -> bool:
    """Whether alice's account is gone, all gateways were told, and it leaves its groups."""
    await until(lambda: not api.services.deletions.child_tasks)
    (user,) = await api.accounts.list_users(after_id=0, limit=2)
    announced = [envelope.sign_out.is_deleted for _, envelope in api.log.published]
    sign_ins = await api.accounts.families(user.user_id, now_ms=api.clock.now_ms, limit=10)
    told = announced == [True] * api.log.partitions
    return user.is_deleted and told and not sign_ins and api.groups.left == [user.user_id]


async def test_a_deletion_that_takes_longer_than_its_request_is_completed(
    api: Api, delete: Delete, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_families, ends, may_end = api.accounts.end_families, trio.Event(), trio.Event()

    async def end_slowly(user_id: int) -> object:
        ends.set()
        await may_end.wait()
        return await end_families(user_id)

    async def time_out() -> None:
        assert (await delete()).refusal[:2] == (504, "timed_out")

    mock_clock.rate = 1.0
    monkeypatch.setattr(api.accounts, "end_families", end_slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(time_out)
        await ends.wait()
        mock_clock.jump(REQUEST_DEADLINE)
    assert api.log.published == []
    may_end.set()
    assert await nothing_is_left(api)


@pytest.mark.parametrize("write", ["suspend", "delete_user", "end_families"])
async def test_a_deletion_whose_client_disconnects_is_completed(api: Api, delete: Delete, write: str) -> None:
    await disconnect_after_write(api.accounts, write, delete)
    assert await nothing_is_left(api)


async def test_a_deletion_waits_for_a_store_that_is_away(
    api: Api, delete: Delete, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_user, failures = api.accounts.delete_user, iter([Unavailable("away"), Unavailable("away")])

    async def fail_twice(user_id: int) -> None:
        if failure := next(failures, None):
            raise failure
        await delete_user(user_id)

    monkeypatch.setattr(deletions, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(api.accounts, "delete_user", fail_twice)
    assert (await delete()).status == 204
    assert await nothing_is_left(api)
    assert len(await api.accounts.audit_entries(limit=10)) == 1


@pytest.mark.parametrize(("failure", "status"), [(Unavailable("away"), 503), (RuntimeError("a fault"), 500)])
async def test_a_deletion_that_can_not_be_completed_is_logged(
    api: Api, delete: Delete, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    async def fail(user_id: int) -> None:
        raise failure

    monkeypatch.setattr(deletions, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(api.accounts, "delete_user", fail)
    with structlog.testing.capture_logs() as logs:
        assert (await delete()).status == status
    (user,) = await api.accounts.list_users(after_id=0, limit=2)
    assert [line["user_id"] for line in logs if line["event"] == "account_not_deleted"] == [str(user.user_id)]


async def test_a_fault_in_a_deletion_ends_no_other_one(
    api: Api, delete: Delete, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Avatars, place: str, token: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Avatars, "forget", fail)
    assert (await delete()).status == 500
    await api.register("bob")
    bob = (await api.sign_in("bob"))["access_token"]
    monkeypatch.undo()
    body = {"current_password": PASSWORD}
    assert (await api.call("POST", "/v1/me/deletion", body, token=bob)).status == 204


async def test_a_deletion_that_a_stop_cuts_off_is_logged(
    api: Api, token: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletes = trio.Event()

    async def hang(user_id: int) -> None:
        deletes.set()
        await trio.sleep_forever()

    monkeypatch.setattr(api.accounts, "delete_user", hang)
    (user,) = await api.accounts.list_users(after_id=0, limit=2)
    with structlog.testing.capture_logs() as logs:
        async with open_background() as background:
            services = replace(api.services, deletions=background)
            nursery.start_soon(Deletions(services, Avatars(services)).delete, Actor(name="root"), user)
            await deletes.wait()
    assert [line["user_id"] for line in logs if line["event"] == "account_not_deleted"] == [str(user.user_id)]


async def test_too_many_deletions_at_once_are_refused(
    api: Api, delete: Delete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "MAX_DELETIONS", 0)
    assert (await delete()).refusal[:2] == (503, "unavailable")
    assert await api.accounts.audit_entries(limit=1) == []
