import time

import pytest

from messaging.text_links import MAX_LINK, first_link


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("", ""),
        ("no link, ftp://example.org", ""),
        ("see https://a.example/x?y=1#z, or http://b.example", "https://a.example/x?y=1#z"),
        ("HTTPS://A.example!", "HTTPS://A.example"),
        ("(https://a.example/b)", "https://a.example/b"),
        ("https://a.example/b_(c).", "https://a.example/b_(c)"),
        ("**https://a.example** ~~https://b.example~~", "https://a.example"),
        ("||https://a.example||", "https://a.example"),
        ("<https://a.example>", "https://a.example"),
        ("https://a.example\u202e/evil", "https://a.example"),
        ("[a label](https://a.example/b_(c)) and https://b.example", "https://a.example/b_(c)"),
        ("`https://a.example` https://b.example", "https://b.example"),
        ("```\nhttps://a.example\n``` and ``https://b.example`` https://c.example", "https://c.example"),
        ("`https://a.example", "https://a.example"),
        ("``https://a.example", "https://a.example"),
        (f"https://a.example/{'x' * MAX_LINK} https://b.example", ""),
    ],
)
def test_the_first_link_outside_of_code_is_found_as_the_page_shows_it(text: str, link: str) -> None:
    assert first_link(text) == link


@pytest.mark.parametrize(
    "text", ["`a``b" * 50_000, "".join("`" * n + " " for n in range(700)), "[" * 250_000, "http://" * 36_000]
)
def test_hostile_texts_take_no_long_time(text: str) -> None:
    began = time.process_time()
    first_link(f"{text} https://a.example")
    assert time.process_time() - began < 10
