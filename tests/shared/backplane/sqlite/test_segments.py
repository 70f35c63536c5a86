"""Segments hold every record, and offsets are found in them by time."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from shared.backplane import StoredRecord
from shared.backplane.sqlite.segments import SEGMENT_BYTES, offset_at, records_of, segments_of


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 200_000), st.sampled_from(["", "of a trace"])), max_size=12)
)
def test_segments_hold_every_record_in_order_and_are_bounded(written: list[tuple[int, int, str]]) -> None:
    ends = [0, 0]
    records = []
    for partition, size, traceparent in written:
        records.append(StoredRecord(partition, ends[partition], 5, b"x" * size, traceparent))
        ends[partition] += 1
    segments = segments_of(records)
    read = [records_of(place >> 48, place, at_ms, values, traced) for place, _, at_ms, values, traced in segments]
    assert sorted(record for each in read for record in each) == sorted(records)
    assert [count for _, count, *_ in segments] == [len(each) for each in read]
    assert all(len(values) < SEGMENT_BYTES + 200_100 for _, _, _, values, _ in segments)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=30), st.integers(0, 40), st.integers(0, 30))
def test_an_offset_is_found_by_time_as_by_a_linear_search(
    written: list[tuple[int, int]], at_ms: int, trimmed: int
) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE segments (place INTEGER PRIMARY KEY, records INTEGER, at_ms INTEGER)")
    connection.execute("INSERT INTO segments VALUES (?, 1, 7), (?, 1, 7)", (0, 2 << 48))  # the neighbours
    end = now = 0
    times: list[tuple[int, int]] = []
    for pause, records in written:
        now += pause
        times.append((end, now))
        connection.execute("INSERT INTO segments VALUES (?, ?, ?)", (1 << 48 | end, records, now))
        end += records
    for offset, _ in times[:trimmed]:
        connection.execute("DELETE FROM segments WHERE place = ?", (1 << 48 | offset,))
    expected = next((offset for offset, time in times[trimmed:] if time >= at_ms), end)
    assert offset_at(connection, 1, end, at_ms) == expected
    connection.close()
