"""Our signatures are those of botocore, which is written by Amazon."""

from collections.abc import Iterator
from datetime import UTC, datetime
from unittest import mock

import httpx
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.files.s3.signing import Signer, encode_query

SIGNER = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1")

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

URL = "https://s3.example.org:9000/bucket/of-rookery/3fa/1234_small"

QUERIES = [{}, {"uploads": ""}, {"uploadId": "a/b+c=~ü%2F", "partNumber": "7"}, {"prefix": "a b", "list-type": "2"}]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("botocore.auth.get_current_datetime", return_value=AT.replace(tzinfo=None)):
        yield


def credentials() -> Credentials:
    return Credentials(SIGNER.access_key, SIGNER.secret_key)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
def test_headers(method: str, query: dict[str, str]) -> None:
    url = f"{URL}?{encode_query(query)}" if query else URL
    request = AWSRequest(method, url)
    S3SigV4Auth(credentials(), "s3", SIGNER.region).add_auth(request)
    headers = SIGNER.headers(method, url, request.headers["X-Amz-Content-SHA256"], AT)
    assert headers["authorization"] == request.headers["Authorization"]
    assert str(httpx.Request(method, url).url) == url


def test_urls() -> None:
    query = {"response-content-disposition": 'inline; filename="ü b.txt"', "response-content-type": "text/plain"}
    request = AWSRequest("GET", URL, params=query)
    S3SigV4QueryAuth(credentials(), "s3", SIGNER.region, expires=300).add_auth(request)
    signed = httpx.URL(SIGNER.url(URL, query, 300, AT))
    assert sorted(signed.params.multi_items()) == sorted(httpx.URL(str(request.url)).params.multi_items())
    assert signed.copy_with(query=None) == URL


def test_the_secret_is_not_in_the_representation() -> None:
    assert SIGNER.secret_key not in repr(SIGNER)
