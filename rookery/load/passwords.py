"""The password of the users that `rookery load` and `verify` create: random, since anybody who knows it can sign in as
one of them."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def new_password() -> str:
    """Return a random password."""
    return secrets.token_urlsafe(24)


def password_in(file: Path) -> str:
    """Return the password in the first line of the file. A missing file is created with a new one, readable by its
    owner only. Raises OSError."""
    try:
        return file.read_text().partition("\n")[0]
    except FileNotFoundError:
        with tempfile.NamedTemporaryFile("w", dir=file.parent) as whole:  # of mode 0600
            whole.write(f"{new_password()}\n")
            whole.flush()
            with suppress(FileExistsError):  # another run has created it meanwhile
                os.link(whole.name, file)
        return password_in(file)
