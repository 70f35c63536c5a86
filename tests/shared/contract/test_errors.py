from shared.contract.errors import KINDS, Code, Refusal
from shared.rpc import Status


def test_every_code_has_a_status_in_http_and_grpc() -> None:
    assert KINDS.keys() == set(Code)
    for kind in KINDS.values():
        assert 400 <= kind.http_status < 600
        assert Status(kind.grpc_status) is not Status.OK


def test_only_a_refusal_that_time_may_lift_is_retryable() -> None:
    retryable = {code for code in Code if Refusal(code, "").retryable}
    assert retryable == {Code.RATE_LIMITED, Code.INCOMPLETE, Code.TIMED_OUT, Code.UNAVAILABLE}
