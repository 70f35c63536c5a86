"""The queue of events never blocks the session."""

from rookery.client import Gap, Message
from rookery.client.events import EventQueue


async def test_a_reader_that_falls_behind_gets_a_gap() -> None:
    queue = EventQueue(max_events=2, clock_ms=lambda: 5)
    for number in range(1, 6):
        queue.put(Message(message_id=number), at_ms=number)
    assert await anext(queue) == Message(message_id=1)
    queue.put(Message(message_id=6), at_ms=6)
    assert await anext(queue) == Message(message_id=2)
    assert await anext(queue) == Gap(since_ms=3, dropped=4, at_ms=6)
    queue.put(Message(message_id=7), at_ms=7)
    assert await anext(queue) == Message(message_id=7)


async def test_a_gap_that_is_dropped_itself_keeps_its_times() -> None:
    queue = EventQueue(max_events=1, clock_ms=lambda: 5)
    for event in (Message(message_id=50), Message(message_id=51), Gap(since_ms=7, at_ms=60), Message(message_id=52)):
        queue.put(event, at_ms=51)
    await anext(queue)
    assert await anext(queue) == Gap(since_ms=7, dropped=3, at_ms=60)
