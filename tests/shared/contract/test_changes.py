"""Changes fold into one state in any order, and with any repetitions."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rookery.v1.session_pb2 import Change, Deleted, Edited, Event, Hidden, Marked, Reacted, Text
from shared.contract.changes import KINDS, State, apply


def bodies() -> st.SearchStrategy[dict[str, Any]]:
    ids = st.integers(0, 5)
    return st.one_of(
        st.builds(Reacted, emoji=st.sampled_from("👍🎉"), set=st.booleans()).map(lambda body: {"reacted": body}),
        st.builds(Marked, delivered_up_to=ids, read_up_to=ids).map(lambda body: {"marked": body}),
        st.builds(Text, body=st.sampled_from("ab")).map(lambda text: {"edited": Edited(text=text)}),
        st.just({"deleted": Deleted()}),
        st.builds(Hidden, set=st.booleans()).map(lambda body: {"hidden": body}),
        st.just({}),  # of a newer version
    )


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    ids = draw(st.lists(st.integers(1, 20), max_size=8, unique=True))
    changes = [Change(actor_id=draw(st.integers(1, 2)), **draw(bodies())) for _ in ids]
    return [Event(event_id=number, change=change) for number, change in zip(ids, changes, strict=True)]


def fold(changes: list[Event]) -> State:
    state: State = {}
    for event in changes:
        apply(state, event)
    return state


@given(events(), st.data())
def test_any_order_and_any_repetition_of_changes_give_one_state(changes: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(changes))
    repeated = data.draw(st.lists(st.sampled_from(changes))) if changes else []
    assert fold(shuffled + repeated) == fold(changes)


@given(events())
def test_applying_a_change_tells_whether_the_state_has_changed(changes: list[Event]) -> None:
    state: State = {}
    for event in changes:
        before = dict(state)
        assert apply(state, event) == (state != before)


def test_the_laws_are_those_of_the_protos() -> None:
    edits = [Event(event_id=number, change=Change(edited=Edited(text=Text(body=str(number))))) for number in (3, 2)]
    assert [event.event_id for event in fold(edits).values()] == [3]
    deletion = Event(event_id=1, change=Change(deleted=Deleted()))
    assert list(fold([*edits, deletion]).values()) == [deletion]
    hiding = Event(event_id=4, change=Change(actor_id=1, hidden=Hidden(set=True)))
    assert list(fold([hiding, *edits, deletion]).values()) == [hiding, deletion], "it outlives the deletion"
    marks = [
        Event(event_id=n, change=Change(actor_id=1, marked=Marked(delivered_up_to=n, read_up_to=9 - n))) for n in (1, 5)
    ]
    (mark,) = fold(marks).values()
    assert (mark.event_id, mark.change.marked.delivered_up_to, mark.change.marked.read_up_to) == (5, 5, 8)
    assert KINDS["reacted"].key == ("actor_id", "reacted.emoji")
