"""A Refusal as the status of a call, with the details of google/rpc/error_details.proto, and back.

| of the refusal   | detail                                                        |
| ---------------- | ------------------------------------------------------------- |
| `code`           | ErrorInfo: `reason` is the code, `domain` is DOMAIN           |
| `field`          | BadRequest: one violation with the field and the message      |
| `retry_after_ms` | RetryInfo                                                     |

The status itself is that of the code in `KINDS`. Several codes share a status, so it is never turned back into a code
where a peer of ours has sent the refusal.
"""

from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from shared.contract.errors import Code, Refusal
from shared.rpc.status import RpcError, Status

INTERNAL = "Something went wrong on our side."
"""The message of a refusal for a fault of a process of ours."""

DOMAIN = "rookery"
"""The domain of our ErrorInfo: a reason of another domain is not one of our codes."""

CODES_WITHOUT_REFUSAL: dict[Status, Code] = {
    Status.UNAVAILABLE: Code.UNAVAILABLE,
    Status.RESOURCE_EXHAUSTED: Code.UNAVAILABLE,
    Status.DEADLINE_EXCEEDED: Code.TIMED_OUT,
}
"""The code of a call that failed without a refusal: a lost connection, a proxy, a fault. Every other status is
`internal`; that includes UNAUTHENTICATED, which here is about our own service token, never about the user's."""


def error_of(refusal: Refusal) -> RpcError:
    """The error that ends a call with this refusal."""
    details: list[ErrorInfo | BadRequest | RetryInfo] = [ErrorInfo(reason=refusal.code, domain=DOMAIN)]
    if refusal.field:
        violation = BadRequest.FieldViolation(field=refusal.field, description=refusal.message)
        details.append(BadRequest(field_violations=[violation]))
    if refusal.retry_after_ms:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(refusal.retry_after_ms)
        details.append(retry)
    return RpcError(Status(refusal.kind.grpc_status), refusal.message, details=details)


def refusal_sent_with(error: RpcError) -> Refusal | None:
    """The refusal that the peer sent; None if it sent none, or one with a code that this version lacks."""
    code = _code_of(error.detail(ErrorInfo))
    if code is None:
        return None
    request = error.detail(BadRequest)
    field = request.field_violations[0].field if request is not None and request.field_violations else ""
    retry = error.detail(RetryInfo)
    retry_after_ms = 0 if retry is None else max(retry.retry_delay.ToMilliseconds(), 0)
    return Refusal(code, error.message, field, retry_after_ms)


def code_without_refusal(error: RpcError) -> Code:
    """The code for a call that failed with no refusal from the peer: `unavailable`, `timed_out` or `internal`."""
    return CODES_WITHOUT_REFUSAL.get(error.status, Code.INTERNAL)


def refusal_of_call(error: RpcError, unavailable: str) -> Refusal:
    """The refusal that the peer sent, else one by the status of the call: with the message `unavailable`, or INTERNAL,
    without any detail of the fault."""
    if sent := refusal_sent_with(error):
        return sent
    code = code_without_refusal(error)
    return Refusal(code, INTERNAL if code is Code.INTERNAL else unavailable)


def _code_of(info: ErrorInfo | None) -> Code | None:
    if info is None or info.domain != DOMAIN:
        return None
    try:
        return Code(info.reason)
    except ValueError:
        return None
