"""Finds the first link of a text, by the rules by which the page shows links (`web/formatting.js`)."""

import re
from bisect import bisect
from collections import defaultdict

MAX_LINK = 2_000
"""Characters. A longer link gets no preview."""

MAX_LABEL = 300
"""Characters between the brackets of `[label](link)`."""

_TICKS = re.compile("`+")

_TOKEN = re.compile(r"`+|https?://[^\s<>\"\u202a-\u202e\u2066-\u2069]+", re.IGNORECASE)

_LABEL = re.compile(r"\[[^\[\]]+\]\($")


def first_link(text: str) -> str:
    """The first http or https link of a text, outside of code; empty without one."""
    if "://" not in text:
        return ""
    ticks = defaultdict[int, list[int]](list)  # where the runs of so many backticks begin
    for run in _TICKS.finditer(text):
        ticks[len(run[0])].append(run.start())
    at = 0
    while token := _TOKEN.search(text, at):
        begin, found = token.start(), token[0]
        if found[0] != "`":
            return _without_context(text, begin, found) if len(found) <= MAX_LINK else ""
        same = ticks[len(found)]  # code ends at the next run of as many
        place = bisect(same, begin)
        at = token.end() if place == len(same) else same[place] + len(found)
    return ""


def _without_context(text: str, begin: int, link: str) -> str:
    """The link without the label's bracket after it, or without the punctuation and markers of the text around it."""
    if _LABEL.search(text, max(0, begin - MAX_LABEL - 3), begin):
        depth = 0
        for end, character in enumerate(link):
            depth += (character == "(") - (character == ")")
            if depth < 0:
                return link[:end]
        return link
    has_bracket = "(" in link
    while link[-1] in ".,;:!?'*_" or link.endswith(("~~", "||")) or (link[-1] == ")" and not has_bracket):
        link = link[: -2 if link.endswith(("~~", "||")) else -1]
    return link
