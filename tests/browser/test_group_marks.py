"""The ticks of a message in a group, while the chat is on the screen."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Account, Platform, Seats


@pytest.mark.slow
def test_a_message_of_a_group_is_delivered_and_read_once_all_members_have_received_and_read_it(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    ben = platform.register("Ben Adeyemi")
    user_ids = [str(each.user_id) for each in (mira, ben)]
    platform.change_group(ada, "POST", "", name="Ticks", user_ids=user_ids)
    own = seats(platform, ada, chat="Ticks")
    own.write("Has everybody seen this?")
    message = own.message("Has everybody seen this?")
    others = [seats(platform, each) for each in (mira, ben)]
    expect(message).to_contain_text("Delivered")
    for each in others:
        each.open_chat("Ticks")
    expect(message).to_contain_text("Read")
