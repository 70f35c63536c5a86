"""Numbers of examples that grow with the Hypothesis profile: `make test-all` loads `deep`."""

from hypothesis import settings

NORMAL = 100
"""Examples per test in the profile of `make test`, Hypothesis' default."""


def examples(count: int) -> settings:
    """Settings of a test that runs this many examples in `make test`, and proportionally more in `make test-all`."""
    return settings(max_examples=count * settings().max_examples // NORMAL)
