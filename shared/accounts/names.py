"""The rule by which a search finds people, in both account stores, and public groups, in both chat stores.

Each word of the query is a part of one of the names; one of 1 or 2 characters is the beginning of a word. The
order of the words, case, and an `@` in front of a word do not matter.
"""

from collections.abc import Collection


def searched_text(*names: str) -> str:
    """Return the words of names, each after two spaces."""
    return "".join(f"  {word}" for name in names for word in _words(name))


def search_terms(query: str) -> list[str]:
    """Return the terms that the `searched_text` of a match contains; none if the query has no word.

    A term has at least 3 characters: a shorter word is filled up with the spaces in front of it.
    """
    return [word.rjust(3) for word in _words(query)]


def is_match(terms: Collection[str], *names: str) -> bool:
    """Whether a search for these terms finds a person with these names."""
    text = searched_text(*names)
    return all(term in text for term in terms)


def trigrams_of(*texts: str) -> list[str]:
    """Return the distinct trigrams of the texts, in order. Those of a term are among those of the `searched_text`."""
    return list(dict.fromkeys(text[start : start + 3] for text in texts for start in range(len(text) - 2)))


def _words(text: str) -> list[str]:
    return [word.lstrip("@") or word for word in text.casefold().split()]
