"""How files are sent: what browsers may show, names in headers, conditions and ranges."""

import pytest
from werkzeug.datastructures import Headers

from bff.files.served import asked_for, headers_of, served
from rookery.v1.files_pb2 import FileInfo

WHOLE = (200, 0, 1000)
BEHIND = (416, 0, 0)


@pytest.mark.parametrize(
    ("media_type", "width", "sent"),
    [
        ("image/png", 10, ("image/png", "inline")),
        ("image/png", 0, ("image/png", "attachment")),
        ("image/svg+xml", 10, ("application/octet-stream", "attachment")),
        ("video/mp4", 0, ("video/mp4", "inline")),
        ("audio/ogg", 0, ("audio/ogg", "inline")),
        ("application/pdf", 0, ("application/pdf", "inline")),
        ("text/plain", 0, ("text/plain; charset=utf-8", "attachment")),
        ("text/html", 0, ("application/octet-stream", "attachment")),
        ("application/xhtml+xml", 0, ("application/octet-stream", "attachment")),
        ("text/javascript", 0, ("application/octet-stream", "attachment")),
        ("image/png\r\nSet-Cookie: a", 0, ("application/octet-stream", "attachment")),
        ("", 0, ("application/octet-stream", "attachment")),
    ],
)
def test_only_what_runs_no_scripts_is_shown(media_type: str, width: int, sent: tuple[str, str]) -> None:
    file = FileInfo(file_id=1, name="a", media_type=media_type, width=width)
    headers = headers_of(served(file), 60)
    assert (headers["Content-Type"], headers["Content-Disposition"].partition(";")[0]) == sent
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")
    assert served(file, is_download=True).disposition == 'attachment; filename="a"'


def test_names_stay_within_their_header() -> None:
    for name, expected in (
        ('a"b\\c%0a.txt', "attachment; filename=\"a_b_c_0a.txt\"; filename*=UTF-8''a%22b%5Cc%250a.txt"),
        ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
        ("Möwe.bin", "attachment; filename=\"M_we.bin\"; filename*=UTF-8''M%C3%B6we.bin"),
    ):
        assert served(FileInfo(file_id=1, name=name)).disposition == expected
    thumbnail = served(FileInfo(file_id=1, name="a.b.png", media_type="image/png", width=9), "320")
    assert (thumbnail.disposition, thumbnail.media_type) == ('inline; filename="a.b-320.webp"', "image/webp")
    assert thumbnail.etag != served(FileInfo(file_id=1)).etag


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=10-", (206, 10, 1000)),
        ("bytes=10-99999", (206, 10, 1000)),
        ("bytes=-10", (206, 990, 1000)),
        ("bytes=-99999", (206, 0, 1000)),
        ("bytes=999-", (206, 999, 1000)),
        ("bytes=1000-", BEHIND),
        ("bytes=-0", BEHIND),
        (f"bytes={10**18}-", BEHIND),
        ("bytes=9-3", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=0-0,2-2", WHOLE),
        ("bytes=" + "0-," * 1000 + "0-", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
        ("bytes=\u0660-\u0669", WHOLE),
        ("items=0-0", WHOLE),
        ("bytes=-1-", WHOLE),
        ("", WHOLE),
    ],
)
def test_ranges(text: str, expected: tuple[int, int, int]) -> None:
    asked = asked_for("GET", Headers({"Range": text}), "e", 1000)
    assert (asked.status, asked.start, asked.end) == expected
    assert asked_for("HEAD", Headers({"Range": text}), "e", 1000).status == 200


def test_an_empty_file_has_no_range() -> None:
    for text in ("bytes=0-", "bytes=-1"):
        assert asked_for("GET", Headers({"Range": text}), "e", 0).status == 416


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"x", W/"e"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"', "Range": "bytes=0-"}, 206),
        ({"If-Match": '"x"', "If-None-Match": '"e"'}, 412),
        ({"If-Match": '"e"', "Range": "bytes=0-"}, 206),
        ({"If-Range": '"e"', "Range": "bytes=0-"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-"}, 200),
        ({"If-Range": 'W/"e"', "Range": "bytes=0-"}, 200),
        ({"If-Range": "Wed, 21 Oct 2026 07:28:00 GMT", "Range": "bytes=0-"}, 200),
    ],
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    assert asked_for("GET", Headers(headers), "e", 1000).status == status
