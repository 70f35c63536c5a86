"""`rookery user`: makes accounts straight in the store, under the same rules as the HTTP API."""

import click
from pydantic import ValidationError

from bff.models import Registration
from rookery.engines import open_accounts, open_coordination
from rookery.folder import COMMAND_GENERATOR
from shared.auth import PasswordHasher
from shared.ids import SnowflakeGenerator, wall_clock_ms
from shared.settings import Settings
from shared.stores.accounts import User


async def add_account(settings: Settings, name: str, password: str, display_name: str | None) -> User:
    """Make the account. Raises ClickException, in words, if that can't be."""
    try:
        wanted = Registration(name=name, password=password, display_name=display_name)
    except ValidationError as error:
        raise click.ClickException("\n".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())) from None
    user = User(
        user_id=await _new_id(settings),
        name=wanted.name,
        display_name=wanted.display_name or wanted.name,
        about="",
        version=1,
        created_at_ms=wall_clock_ms(),
    )
    async with open_accounts(settings) as accounts:
        if not await accounts.add_user(user, await PasswordHasher().hash(wanted.password)):
            raise click.ClickException(f"the name {wanted.name} is taken")
    return user


async def _new_id(settings: Settings) -> int:
    """An id that no other process makes."""
    if "redis" not in settings.engines:
        return await SnowflakeGenerator(COMMAND_GENERATOR).next()
    async with open_coordination(settings) as coordination:
        return await coordination.ids.next()
