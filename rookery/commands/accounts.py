"""`rookery user add`: creates an account directly in the store, under the same rules as the HTTP API."""

from bff.models.accounts import Registration
from rookery.commands.admin import open_administration, raise_refusal, system_user, validation_errors
from rookery.serve.engines import open_accounts, open_coordination, open_routing
from rookery.serve.folder import COMMAND_GENERATOR
from shared.accounts.store import User
from shared.accounts.tokens import PasswordHasher
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms
from shared.settings import Settings


async def add_account(settings: Settings, name: str, password: str, display_name: str | None) -> User:
    """Create the account. Raises ClickException if it is refused."""
    with validation_errors():
        wanted = Registration(name=name, password=password, display_name=display_name)
    user = User.new(await _new_id(settings), wanted.name, wanted.display_name, wall_clock_ms())
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        password_hash = await PasswordHasher().hash(wanted.password)
        raise_refusal(await administration.add_user(system_user(), user, password_hash))
    return user


async def _new_id(settings: Settings) -> int:
    """Return an id that no other process generates."""
    if "redis" not in settings.engines:
        return await SnowflakeGenerator(COMMAND_GENERATOR).next()
    async with open_coordination(settings) as coordination, open_routing(coordination) as routing:
        return await routing.ids.next()
