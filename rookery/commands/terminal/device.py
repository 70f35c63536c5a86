"""Where `rookery chat` keeps the tokens by which servers know this device."""

import os
from pathlib import Path
from urllib.parse import quote


def device_file(url: str, name: str) -> Path | None:
    """Return the file for the token of an account at a server, in the folder of the user's state; None for a user
    without a home folder."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    except RuntimeError:
        return None
    return state / "rookery/devices" / quote(f"{name.lower()}@{url.rstrip('/')}", safe="")
