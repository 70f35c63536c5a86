"""The bounds of a verification, and the recipients of each client."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.verify import Plan, VerifyError
from rookery.verify.plan import check_plan, partners, share


@given(st.integers(1, 200).map(lambda half: 2 * half))
def test_every_client_sends_to_its_partner_and_one_other_and_receives_from_as_many(clients: int) -> None:
    recipients = [other for number in range(clients) for other in partners(number, clients)]
    assert all(number not in partners(number, clients) for number in range(clients))
    assert len(set(map(recipients.count, range(clients)))) == 1
    assert all(partners(partner, clients)[0] == number for number in range(clients) for partner in [number ^ 1])


@given(st.integers(1, 50), st.integers(1, 1_000))
def test_the_shares_add_up_to_the_messages(pairs: int, messages: int) -> None:
    plan = Plan(clients=2 * pairs, messages=messages)
    shares = [share(number, plan) for number in range(plan.clients)]
    assert sum(shares) == messages
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"clients": 3}, "even"),
        ({"clients": 0}, "even"),
        ({"messages": 0}, "--messages"),
        ({"messages": 10**9}, "--messages"),
        ({"rate": 0.0}, "--rate"),
        ({"seconds": math.inf}, "--seconds"),
        ({"settle_seconds": math.nan}, "--settle"),
        ({"size": 10**6}, "--bytes"),
        ({"changes": 101.0}, "--changes"),
        ({"files": -1.0}, "--files"),
        ({"churn": -1}, "--churn"),
        ({"absences": -1}, "--absences"),
        ({"late_retries": -1}, "--late-retries"),
        ({"late_after": 0.0}, "--late-after"),
        ({"groups": (10, 3)}, "--group must be from 4"),
        ({"groups": (10,) * 21}, "at most 20 times"),
        ({"channel": 3}, "--channel must be from 4"),
        ({"accounts": "x"}, "--accounts"),
        ({"urls": ()}, "--url"),
        ({"urls": ("ftp://127.0.0.1",)}, "not the URL"),
        ({"urls": ("http://127.0.0.1", "http://192.0.2.1")}, "--i-own-this-server"),
    ],
)
def test_a_plan_out_of_bounds_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(VerifyError, match=reason):
        check_plan(Plan(**options))


def test_another_machine_may_be_verified_by_its_owner() -> None:
    check_plan(Plan(urls=("http://192.0.2.1",), anywhere=True))
