"""How pages describe themselves, and hostile pages."""

import time

import pytest

from messaging.previews.metadata import MAX_DESCRIPTION, MAX_TITLE, Metadata, clean, decoded, metadata_of

PAGE = """<!doctype html><html><head><!-- <meta property="og:title" content="no"> -->
<title>A &amp; B</title><script>"<meta property='og:title' content=no>"</script>
<META CONTENT="“C” &quot;d&quot; > e" PROPERTY="og:title"><meta name=description content='of  the
page'><meta property="og:title" content="a later one"><meta property=og:image content=/a.png?b&amp;c>
<meta property="og:site_name" content="Site"></head><body><meta property="og:description" content="no">"""


def test_open_graph_comes_before_the_title_and_the_first_statement_counts() -> None:
    assert metadata_of(PAGE) == Metadata('“C” "d" > e', "of the page", "Site", "/a.png?b&c")


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>\n Just\ta title </title>", "Just a title"),
        ("<title>cut off", "cut off"),
        ('<meta name="twitter:title" content="Bird"><title>x</title>', "Bird"),
        ("<title></title><title>second</title>", ""),
        ("<title>a\u202eb\u2066\x00\x1b[31m👩\u200d🚀</title>", "ab[31m👩\u200d🚀"),
        ("<body><title>no</title>", ""),
        ("<meta property='og:title' content='unclosed><title>t</title>", "t"),
        ("", ""),
    ],
)
def test_titles(page: str, title: str) -> None:
    assert metadata_of(page).title == title


def test_texts_are_cut_between_characters() -> None:
    page = f"<title>{'é' * 400}</title><meta name=description content={'日' * 400}>"
    metadata = metadata_of(page)
    assert metadata.title == "é" * ((MAX_TITLE - 3) // 2) + "…"
    assert metadata.description == "日" * ((MAX_DESCRIPTION - 3) // 3) + "…"
    assert clean("é" * 150, 300) == "é" * 150


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("Grüße".encode(), "text/html"),
        ("Grüße".encode()[:-1] + b"e\xe2\x80", "text/html"),
        ("Grüße".encode("latin-1"), "text/html"),
        ("Grüße".encode("cp1252"), "text/html; charset=ISO-8859-1"),
        ("Grüße".encode("cp437").replace(b"\xe1", b"\xdf").replace(b"\x81", b"\xfc"), "text/html; charset=zlib"),
        ("Grüße".encode("utf-16"), "text/html"),
        (b"<meta charset='gbk'>" + "Grüße".encode("gb18030"), "text/html; charset=gb18030"),
    ],
)
def test_a_page_is_decoded_as_it_states_or_as_it_looks(content: bytes, content_type: str) -> None:
    assert decoded(content, content_type).endswith("Grüße")


@pytest.mark.parametrize(
    "part", ["<a ", "<meta a='", "<meta a=", '<meta x="y" ', "<!--", "<title>", "<script>", "<", "é"]
)
def test_a_hostile_page_takes_no_longer_than_its_length_allows(part: str) -> None:
    began = time.process_time()
    for page in (part * (400_000 // len(part)), "<meta " + part.strip("<") * (400_000 // len(part)) + ">"):
        metadata_of(page)
    assert time.process_time() - began < 5
