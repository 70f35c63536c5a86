"""The producer's shell on a real broker: limits, rejections, an outage, and closing. Its logic: test_batcher.py."""

from types import SimpleNamespace

import pytest
import trio

from shared.backplane import Record
from shared.backplane.kafka import producer as kafka_producer
from shared.backplane.kafka.producer import _outcome
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from tests.shared.backplane.conftest import kafka_settings
from tests.shared.backplane.kafka.conftest import Publisher, opened
from tools.engines.kafka import Kafka


async def test_a_call_over_the_limit_is_refused_at_once_and_done_is_not_called(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "MAX_PENDING_CALLS", 1)
    async with opened(kafka_settings(kafka_server)) as backplane:
        publisher = Publisher(backplane)
        publisher.publish()
        with pytest.raises(Unavailable, match="behind: 1 calls with 2 bytes"):
            backplane.publish([Record(0, b"x")], lambda _: pytest.fail("done was called"))
        await publisher.until_answered()
    assert publisher.accepted == {0}


async def test_a_call_whose_time_is_over_is_not_sent(kafka_server: Kafka) -> None:
    """As in a process that was frozen before the call reached Kafka's thread."""
    async with opened(kafka_settings(kafka_server)) as backplane:
        with pytest.raises(Unavailable):
            await publish_and_wait(backplane, [Record(0, b"late")], until=trio.current_time() - 1)
        assert await publish_and_wait(backplane, [Record(0, b"next")]) == [0]


def test_a_response_is_an_outcome_and_a_rejection_has_the_broker_s_reason() -> None:
    def outcome(code: int) -> object:
        return _outcome(SimpleNamespace(error_code=code, base_offset=7, error_message=None))

    assert outcome(0) == 7, "stored"
    assert outcome(6) is None, "not the leader"
    assert isinstance(outcome(10), Unavailable)
    assert "MessageSizeTooLargeError" in str(outcome(10))


@pytest.mark.parametrize("step", ["add", "poll", "complete", "expire"])
async def test_a_fault_in_kafka_s_thread_ends_the_block_in_which_publishers_would_wait_for_ever(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError, match=step)):
        async with opened(kafka_settings(kafka_server)) as backplane:
            batcher = backplane._producer._batcher
            work, faults = getattr(batcher, step), iter([ZeroDivisionError(step)])

            def fail_once(*arguments: object) -> object:
                for fault in faults:
                    raise fault
                return work(*arguments)

            monkeypatch.setattr(batcher, step, fail_once)
            await publish_and_wait(backplane, [Record(0, b"x")])
