"""Signatures of requests to S3: AWS Signature Version 4, in the header or in the URL. Pure."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"

UNSIGNED = "UNSIGNED-PAYLOAD"
"""In place of the body's hash: the signature does not cover the body."""


def encode_query(query: Mapping[str, str]) -> str:
    """Return the query in the one form that the signature allows: sorted, all but unreserved characters encoded."""
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests with one pair of keys. Paths of URLs must consist of characters that need no encoding."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str

    def headers(self, method: str, url: str, body_hash: str, at: datetime) -> dict[str, str]:
        """Return the headers that sign a request. `url` has a query of `encode_query`, or none; `body_hash` is the
        SHA-256 of the body in hexadecimal digits, or UNSIGNED; `at` is the present, in UTC."""
        parts = urlsplit(url)
        signed = {"host": parts.netloc, "x-amz-content-sha256": body_hash, "x-amz-date": _time(at)}
        signature = self._signature(method, parts.path, parts.query, signed, body_hash, at)
        names = ";".join(signed)
        authorization = f"{ALGORITHM} Credential={self._credential(at)}, SignedHeaders={names}, Signature={signature}"
        return {**signed, "authorization": authorization}

    def url(self, url: str, query: Mapping[str, str], seconds: int, at: datetime) -> str:
        """Return the URL with a signature in its query, by which anybody can GET it for some seconds, a week at most.
        `url` has no query."""
        parts = urlsplit(url)
        signed = encode_query(
            {
                **query,
                "X-Amz-Algorithm": ALGORITHM,
                "X-Amz-Credential": self._credential(at),
                "X-Amz-Date": _time(at),
                "X-Amz-Expires": str(seconds),
                "X-Amz-SignedHeaders": "host",
            }
        )
        signature = self._signature("GET", parts.path, signed, {"host": parts.netloc}, UNSIGNED, at)
        return f"{url}?{signed}&X-Amz-Signature={signature}"

    def _signature(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body_hash: str, at: datetime
    ) -> str:
        """`headers` have names in lower case, in alphabetical order."""
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = "\n".join((method, path, query, lines, ";".join(headers), body_hash))
        text = "\n".join((ALGORITHM, _time(at), self._scope(at), sha256(request.encode()).hexdigest()))
        key = f"AWS4{self.secret_key}".encode()
        for word in self._scope(at).split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def _credential(self, at: datetime) -> str:
        return f"{self.access_key}/{self._scope(at)}"

    def _scope(self, at: datetime) -> str:
        return f"{at:%Y%m%d}/{self.region}/s3/aws4_request"


def _time(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"
