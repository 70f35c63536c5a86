"""The limits of connections."""

import pytest

from shared.rpc import Limits


@pytest.mark.parametrize("window", ["stream_window", "connection_window"])
def test_windows_below_http2s_own_are_refused(window: str) -> None:
    with pytest.raises(ValueError, match="65535"):
        Limits(**{window: 1_000})
