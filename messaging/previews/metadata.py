"""Finds how a page describes itself: Open Graph, Twitter's cards, or its title and description. Sans-I/O.

A page is hostile: the scan takes time in proportion to its length, whatever it has. (The standard library's parser
takes a minute for 64 KiB of "<a <a <a".) Only the tags of the head matter, and they do not nest.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

MAX_VALUE = 2_000
"""Most characters of an attribute's value and of a title that are read. A longer value ends its tag."""

MAX_TITLE, MAX_DESCRIPTION, MAX_SITE_NAME = 300, 500, 100
"""Bytes: see LinkPreview in session.proto."""

# Nothing here is tried again in another way (`++`, `*+`), and no text is read again for a later tag, but the value of
# an unclosed quote, up to MAX_VALUE.
_TAG = re.compile(
    r"<!--|<(/head|body|script|style|noscript|title|meta)\b"
    rf"((?:[^<>\"']++|\"[^\"]{{0,{MAX_VALUE}}}+\"|'[^']{{0,{MAX_VALUE}}}+')*+)>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"(?<![a-z:-])([a-z:-]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([a-z0-9_-]{2,40})", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([a-z0-9_-]{2,40})", re.IGNORECASE)

_ENDS = {
    name: re.compile(end, re.IGNORECASE)
    for name, end in (("!--", "-->"), *((name, f"</{name}") for name in ("script", "style", "noscript")))
}
"""The ends of comments, and of elements whose content is skipped."""

_MARKS = (*((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),)
"""Byte order marks."""

CODECS = {
    *("utf-8", "ascii", "koi8-r", "koi8-u", "gbk", "gb2312", "gb18030", "big5", "euc_jp", "shift_jis", "iso2022_jp"),
    *("euc_kr", "cp949", "cp932", "cp866", "cp874", "mac-roman", "utf-16", "utf-16-le", "utf-16-be"),
    *(f"cp125{n}" for n in range(9)),
    *(f"iso8859-{n}" for n in range(1, 17) if n != 12),
}
"""The names, as Python has them, of the encodings that browsers know; others are not text, or take long."""

_TITLES = ("og:title", "twitter:title")
_DESCRIPTIONS = ("og:description", "twitter:description", "description")
_PICTURES = ("og:image:secure_url", "og:image", "og:image:url", "twitter:image", "twitter:image:src")

_REMOVED = ("Cc", "Cs", "Cn")
"""The Unicode categories of control characters, surrogates and unassigned code points."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Metadata(NamedTuple):
    """How a page describes itself; a field is empty if the page does not state it."""

    title: str = ""
    description: str = ""
    site_name: str = ""
    picture: str = ""
    """A URL, which may be relative to that of the page."""


def decoded(content: bytes, content_type: str) -> str:
    """The text of a page, by its byte order mark, the charset of its header, or its own statement; else UTF-8 if it is
    that, else Windows-1252."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, "replace")
    header, own = _CHARSET.search(content_type), _META_CHARSET.search(content[:2_048])
    for stated in (header[1] if header else "", own[1].decode() if own else ""):
        if stated and (known := _codec(stated)):
            return content.decode(known, "replace")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content)  # the last character may be cut
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _codec(name: str) -> str:
    """Python's name of a text encoding that browsers know; empty for others."""
    try:
        known = codecs.lookup(name).name
    except LookupError:
        return ""
    return {"ascii": "cp1252", "iso8859-1": "cp1252"}.get(known, known) if known in CODECS else ""


def metadata_of(page: str) -> Metadata:
    """Read the head of a page."""
    found: dict[str, str] = {}
    for name, value in _head(page):
        found.setdefault(name, value)  # the first one counts

    def first(names: tuple[str, ...]) -> str:
        return next((found[name] for name in names if found.get(name)), "")

    return Metadata(
        clean(first((*_TITLES, "<title>")), MAX_TITLE),
        clean(first(_DESCRIPTIONS), MAX_DESCRIPTION),
        clean(first(("og:site_name",)), MAX_SITE_NAME),
        first(_PICTURES).strip(),
    )


def _head(page: str) -> Iterator[tuple[str, str]]:
    """The names and the contents of the head's `meta` elements, and its title as `<title>`."""
    at = 0
    while tag := _TAG.search(page, at):
        at, name = tag.end(), (tag[1] or "!--").lower()
        if name in ("/head", "body"):
            return
        if name == "meta":
            values = {each[1].lower(): each[2] or each[3] or each[4] or "" for each in _ATTRIBUTE.finditer(tag[2])}
            key = (values.get("property") or values.get("name") or "").lower()
            if key and "content" in values:
                yield key, unescape(values["content"])
        elif name == "title":
            yield "<title>", unescape(page[at : at + MAX_VALUE].partition("<")[0])
        else:
            end = _ENDS[name].search(page, at)
            if end is None:
                return
            at = end.end()


def clean(text: str, most_bytes: int) -> str:
    """The text in one line, without control characters and without those that change the direction of what follows, cut
    to at most so many bytes of UTF-8."""
    spaced = " ".join(text.split())
    kept = "".join(each for each in spaced if each not in _BIDI and unicodedata.category(each) not in _REMOVED)
    if len(kept.encode()) <= most_bytes:
        return kept
    return kept.encode()[: most_bytes - 3].decode(errors="ignore").rstrip() + "…"
