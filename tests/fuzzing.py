"""Numbers of examples that grow with the Hypothesis profile: `make test-all` loads `deep`."""

from hypothesis import settings


def examples(count: int) -> settings:
    """Settings of a test that runs this many examples in `make test`, and in `make test-all` one for each hundredth of
    those of its profile."""
    return settings(max_examples=count * max(1, settings().max_examples // 100))
