"""Batches are bounded, and hold every record of their pieces once and in order."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backplane import Record
from shared.backplane.kafka import batches
from shared.backplane.kafka.batches import Call, Identity, Piece, build_batch
from shared.backplane.kafka.kafka_python import DefaultRecordBatch

LIMIT = 2_000


@given(st.lists(st.lists(st.integers(0, LIMIT), min_size=1, max_size=6), max_size=6))
def test_batches_are_bounded_and_lose_nothing(calls: list[list[int]]) -> None:
    waiting: deque[Piece] = deque()
    for number, sizes in enumerate(calls):
        call = Call([Record(0, bytes([number]) * size) for size in sizes], lambda _: None, 0, float(number))
        waiting.append(Piece(call, 0, range(len(sizes))))
    written: list[bytes] = []
    sequence = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "MAX_BATCH_BYTES", LIMIT)
        while (batch := build_batch(waiting, 0, Identity(7, 0), sequence, 5)) is not None:
            decoded = DefaultRecordBatch(batch.buffer)
            assert (decoded.base_sequence, decoded.records_count) == (sequence, batch.records)
            assert len(batch.buffer) < 2 * LIMIT + 100
            assert batch.records == sum(len(piece.indices) for piece in batch.pieces)
            assert batch.deadline == batch.pieces[0].call.deadline
            written += [record.value for record in decoded]
            sequence += batch.records
    assert written == [bytes([number]) * size for number, sizes in enumerate(calls) for size in sizes]
