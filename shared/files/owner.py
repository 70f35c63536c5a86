"""The platform that a file store belongs to: the sweep of another one would take its files for bytes without a row."""

from shared.contract.errors import Unavailable
from shared.files.keys import OWNER_KEY
from shared.files.protocol import FileStore, NotFound


async def claim(files: FileStore, platform: str, *, former: str = "") -> None:
    """Make the platform the owner of the store if it has none. Raises Unavailable if it has another one.

    `former` is the owner of a store that was filled by a release without this key, if that is known.
    """
    try:
        async with files.read(OWNER_KEY) as chunks:
            owner = b"".join([chunk async for chunk in chunks]).decode()
    except NotFound:
        owner = former or platform
        await files.put(OWNER_KEY, owner.encode())
    if owner != platform:
        raise Unavailable(
            f"the store of files belongs to a platform on {owner}, and this one, on {platform}, would delete its "
            "files: correct ROOKERY_ENGINES, or set ROOKERY_DATA or ROOKERY_FILES__URL to another store"
        )
