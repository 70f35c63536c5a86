"""Files and links in messages: sent by one user, seen, opened, listed and deleted for another."""

import io
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_accessibility import CONDITIONS, expect_accessible
from tests.browser.test_changes import choose
from tests.browser.test_unsent import FULL
from tools.launch.process import running

NOTE: FilePayload = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"Buy milk"}

LOADED = re.compile("loaded")

HAND_OVER = """(element, [type, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File(['Bytes'], name, {type: 'text/plain'}));
  const event = {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer};
  element.dispatchEvent(type === 'paste' ? new ClipboardEvent(type, event) : new DragEvent(type, event));
}"""
"""Pastes or drops a file."""

KEPT = """new Promise((resolve) => {
  const opening = indexedDB.open('rookery');
  opening.onsuccess = () => {
    const database = opening.result;
    const store = database.transaction('kept', 'readwrite').objectStore('kept');
    const keys = store.getAllKeys();
    const values = store.getAll();
    values.onsuccess = () => {
      database.close();
      for (const [at, value] of values.result.entries())
        if (value.bytes) store.put({...value, at_ms: 0}, keys.result[at]);
      resolve(values.result.some(({files}) => files?.length === 2));
    };
  };
})"""
"""Whether a draft with two files is kept; makes their bytes so old that the page deletes them if nothing has them."""


def picture(name: str, width: int = 900, height: int = 600) -> FilePayload:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


def photo(name: str) -> FilePayload:
    """A JPEG with the data of a camera, `Rook 5000`."""
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0110] = "Rook 5000"
    Image.new("RGB", (300, 200), "olive").save(content, "JPEG", exif=exif)
    return {"name": name, "mimeType": "image/jpeg", "buffer": content.getvalue()}


def attach(seat: Seat, *files: FilePayload) -> None:
    seat.page.locator(".attach input").first.set_input_files(files)
    expect(attached(seat.page)).to_have_count(len(files))


def attached(page: Page) -> Locator:
    return page.locator(".attached > *")


def downloaded(seat: Seat, name: str) -> bytes:
    """The bytes of a picture that is downloaded from the viewer."""
    seat.page.get_by_role("button", name=f"Open the photo {name}").click()
    viewer = seat.page.get_by_role("dialog", name="Photos of this chat")
    expect(viewer.get_by_role("img", name=name)).to_be_visible()
    with seat.page.expect_download() as download:
        viewer.get_by_role("button", name="Download").click()
    seat.page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    return download.value.path().read_bytes()


@pytest.mark.parametrize("conditions", [["light"], pytest.param([*CONDITIONS], marks=pytest.mark.slow)])
def test_pictures_and_files_reach_the_other_user_who_opens_them_until_they_are_deleted(
    platform: Platform, seats: Seats, ada: Account, mira: Account, conditions: list[str]
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    at_mira.until_live()
    attach(at_ada, picture("lake.png"), picture("tower.png", 300, 900), NOTE)
    at_ada.write("Our trip")
    expect(at_ada.message("Our trip")).to_contain_text("Read")

    def check(shown: Locator) -> None:
        expect(shown).to_be_visible()
        expect_accessible(at_mira.page, *conditions)

    lake = at_mira.page.get_by_role("button", name="Open the photo lake.png")
    tower = at_mira.page.get_by_role("button", name="Open the photo tower.png")
    for shown in (lake, tower):
        expect(shown).to_have_attribute("data-state", LOADED)
    check(at_mira.message("Our trip").get_by_role("button", name="note.txt"))
    expect(at_mira.row("Ada Lindqvist")).to_contain_text("3 files: Our trip")
    lake.click()
    viewer = at_mira.page.get_by_role("dialog", name="Photos of this chat")
    check(viewer.get_by_role("img", name="lake.png"))
    at_mira.page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("img", name="tower.png")).to_be_visible()
    expect(viewer.get_by_role("button", name="Next")).to_be_hidden()
    at_mira.page.keyboard.press("Escape")
    expect(lake).to_be_focused()
    with at_mira.page.expect_download() as download:
        at_mira.message("Our trip").get_by_role("button", name="note.txt").click()
    assert download.value.suggested_filename == "note.txt"
    assert download.value.path().read_bytes() == NOTE["buffer"]

    at_mira.page.get_by_role("button", name="Chat options").click()
    at_mira.page.get_by_role("menuitem", name="Photos, files and links").click()
    files = at_mira.page.get_by_role("dialog", name="Photos, files and links")
    check(files.get_by_role("button", name="Open the photo lake.png"))
    files.get_by_role("tab", name="Files").click()
    check(files.get_by_text("note.txt"))
    at_mira.page.keyboard.press("Escape")

    tower.click()
    expect(viewer).to_be_visible()
    choose(at_ada, "Our trip", "Delete")
    at_ada.page.get_by_role("button", name="Delete for everyone").click()
    expect(viewer).to_have_count(0)
    expect(at_mira.messages.get_by_text("This message was deleted")).to_be_visible()


@pytest.mark.slow
def test_a_picture_has_its_place_before_it_is_loaded_and_is_loaded_again_after_its_link_has_failed(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada = seats(platform, ada, chat="Mira Okafor")
    attach(at_ada, picture("lake.png"))
    at_ada.composer.press("Enter")
    expect(at_ada.messages.last).to_contain_text("Sent")

    at_mira = seats(platform, mira, allowed=["404", "ERR_FAILED"])
    held: list[Route] = []
    at_mira.page.route("**/files/*/lake*", lambda route: held.append(route), times=1)
    at_mira.open_chat("Ada Lindqvist")
    lake = at_mira.page.get_by_role("button", name="Open the photo lake.png")
    box = lake.bounding_box()
    assert box is not None
    assert (box["width"], round(box["height"])) == (320, 213)
    while not held:
        at_mira.page.wait_for_timeout(20)
    held[0].abort()
    expect(lake).to_have_attribute("data-state", LOADED)
    assert lake.bounding_box() == box


def test_pasted_and_dropped_files_wait_for_the_server_over_a_reload(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Send me")
    seat = seats(platform, ada, chat="Mira Okafor", allowed=["ERR_FAILED"])
    seat.page.route("**/v1/files", lambda route: route.abort())
    seat.composer.fill("Both")
    seat.composer.evaluate(HAND_OVER, ["paste", "a.txt"])
    seat.composer.press("Enter")  # before the file is attached
    expect(seat.message("Both")).to_contain_text("Waiting for the connection")
    seat.page.locator("rookery-chat").evaluate(HAND_OVER, ["drop", "b.txt"])
    expect(seat.page.locator(".attached")).to_contain_text("b.txt")
    seat.composer.press("Enter")
    expect(seat.message("b.txt")).to_be_visible()  # it is kept
    seat.page.unroute("**/v1/files")
    seat.page.reload()
    for message, name in (("Both", "a.txt"), ("b.txt", "b.txt")):
        expect(seat.message(message)).to_contain_text("Sent")
        expect(seat.message(message).get_by_role("button", name=name)).to_be_visible()


def in_two_chats(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    """Ada's page at her chat with Mira; she has another one with Grace Abara."""
    grace = platform.register("Grace Abara")
    for other in (mira, grace):
        platform.send(other, ada.chat_with(other), "Show me")
    return seats(platform, ada, chat="Mira Okafor")


@pytest.mark.slow
def test_a_draft_has_its_files_after_a_reload_in_another_chat_and_in_another_tab_until_it_is_sent(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = in_two_chats(platform, seats, ada, mira)
    attach(seat, picture("lake.png"), NOTE)
    seat.composer.fill("Our trip")
    seat.open_chat("Grace Abara")
    expect(seat.row("Mira Okafor")).to_contain_text("Draft: 2 files: Our trip")
    expect(attached(seat.page)).to_have_count(0)
    seat.open_chat("Mira Okafor")
    expect(attached(seat.page)).to_have_count(2)
    seat.wait_until(KEPT)
    for _ in range(2):
        seat.page.reload()
        expect(attached(seat.page)).to_have_count(2)
        expect(attached(seat.page).nth(1)).to_contain_text("note.txt")
        expect(seat.composer).to_have_value("Our trip")
        seat.wait_until("document.querySelector('.attached img')?.naturalWidth === 900")

    tab = seat.tab()
    tab.get_by_role("navigation").get_by_role("button", name="Mira Okafor").click()
    expect(attached(tab)).to_have_count(2)
    tab.get_by_role("button", name="Remove note.txt").click()
    expect(attached(seat.page)).to_have_count(1)
    seat.page.close()
    seat.page = tab
    seat.composer.press("Enter")
    expect(seat.message("Our trip").get_by_role("button", name="Open the photo lake.png")).to_be_visible()
    expect(seat.message("Our trip")).to_contain_text("Sent")
    expect(attached(tab)).to_have_count(0)
    tab.reload()
    expect(seat.message("Our trip")).to_contain_text("Sent")
    expect(attached(tab)).to_have_count(0)
    expect(seat.composer).to_have_value("")


@pytest.mark.slow
def test_a_text_whose_files_are_being_kept_leaves_its_chat_once_that_was_left_and_opened_again(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = in_two_chats(platform, seats, ada, mira)
    seat.page.evaluate("""() => {
      IDBObjectStore.prototype.get = () => {
        const request = {};
        window.goOn = () => request.onsuccess();
        return request;
      };
    }""")
    attach(seat, NOTE)
    seat.composer.press_sequentially("My note")
    seat.composer.press("Enter")
    seat.open_chat("Grace Abara")
    expect(seat.composer).to_have_value("")
    seat.open_chat("Mira Okafor")
    expect(seat.composer).to_have_value("My note")
    seat.composer.press("End")
    seat.composer.press_sequentially("Do you")
    seat.page.evaluate("goOn()")
    expect(seat.message("My note")).to_contain_text("Sent")
    expect(seat.composer).to_have_value("Do you")
    seat.composer.press_sequentially(" like it?")
    seat.open_chat("Grace Abara")
    seat.open_chat("Mira Okafor")
    expect(seat.composer).to_have_value("Do you like it?")
    seat.composer.press("Enter")
    expect(seat.message("Do you like it?")).to_contain_text("Sent")
    assert seat.messages.locator(".text").all_inner_texts() == ["Show me", "My note", "Do you like it?"]


@pytest.mark.slow
def test_a_file_that_the_browser_has_no_room_for_is_named_and_sent(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    seat = seats(platform, ada, chat="Mira Okafor")
    seat.page.evaluate(f"void ({FULL})")
    attach(seat, NOTE)
    expect(seat.page.get_by_role("alert").filter(has_text="this is lost: note.txt.")).to_be_visible()
    seat.composer.press("Enter")
    expect(seat.message("note.txt")).to_contain_text("Sent")
    expect(seat.page.get_by_role("alert").filter(has_text="note.txt")).to_have_count(0)


@pytest.mark.slow
@pytest.mark.parametrize("conditions", [["light", "320 pixels"], [*CONDITIONS]])
def test_a_picture_keeps_its_bytes_only_if_its_sender_switches_that_on(
    platform: Platform, seats: Seats, ada: Account, mira: Account, conditions: list[str]
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    switch = at_ada.page.get_by_role("switch", name="Send in original quality")
    attach(at_ada, NOTE)
    expect(switch).to_have_count(0)
    at_ada.page.get_by_role("button", name="Remove note.txt").click()
    attach(at_ada, photo("rook.jpg"))
    expect(switch).not_to_be_checked()
    expect(switch).to_have_accessible_description(re.compile("Location and camera data"))
    expect_accessible(at_ada.page, *conditions)
    at_ada.page.get_by_role("button", name="Remove rook.jpg").focus()
    at_ada.page.keyboard.press("Tab")
    at_ada.page.keyboard.press("Space")
    expect(switch).to_be_checked()
    at_ada.write("As it is")
    expect(at_mira.message("As it is").get_by_role("button", name="Open the photo rook.jpg")).to_be_visible()
    attach(at_ada, photo("crow.jpg"))
    expect(switch).not_to_be_checked()
    at_ada.write("Without")
    expect(at_mira.message("Without").get_by_role("button", name="Open the photo crow.jpg")).to_be_visible()
    assert downloaded(at_mira, "rook.jpg") == photo("rook.jpg")["buffer"]
    assert b"Rook 5000" not in downloaded(at_mira, "crow.jpg")


RECORDED = re.compile(r"0:(0[1-9]|[1-5]\d)")
"""The timer after a second or more: a busy browser may skip some."""


def test_a_voice_message_is_recorded_cancelled_and_played(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Say something")
    seat = seats(platform, ada, chat="Mira Okafor", permissions=["microphone"])
    for key in ("Escape", "Enter"):
        seat.page.get_by_role("button", name="Voice message").click()
        expect(seat.page.get_by_role("timer")).to_have_text(RECORDED)
        if key == "Enter":
            expect_accessible(seat.page, "light")
        seat.page.keyboard.press(key)
        expect(seat.composer).to_be_focused()
    expect(seat.messages.last).to_contain_text("Sent")
    expect(seat.messages).to_have_count(2)
    seat.messages.last.get_by_role("button", name="Play").click()
    expect(seat.messages.last.get_by_role("button", name="Pause")).to_be_visible()


HELD = """const { mediaDevices } = navigator;
const open = mediaDevices.getUserMedia.bind(mediaDevices);
window.tracks = [];
mediaDevices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  window.tracks.push(...stream.getTracks());
  return stream;
};"""
ALL_ENDED = "window.tracks.every(({ readyState }) => readyState === 'ended')"


def seat_with_held_tracks(platform: Platform, seats: Seats, user: Account, chat: str) -> Seat:
    """A seat in a chat whose page holds the tracks of each recording in `window.tracks`."""
    seat = seats(platform, user, chat=chat, permissions=["microphone"])
    seat.page.add_init_script(HELD)
    seat.page.reload()
    return seat


@pytest.mark.slow
def test_a_recording_ends_when_the_chat_can_not_be_written_in_any_more(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    chat_id = platform.change_group(mira, "POST", "", name="Rookery", user_ids=[str(ada.user_id)])
    seat = seat_with_held_tracks(platform, seats, ada, "Rookery")
    seat.page.get_by_role("button", name="Voice message").click()
    expect(seat.page.get_by_role("timer")).to_have_text(RECORDED)
    platform.change_group(mira, "DELETE", f"/{chat_id}/members/{ada.user_id}")
    expect(seat.page.get_by_role("timer")).to_have_count(0)
    seat.wait_until(ALL_ENDED)


@pytest.mark.slow
def test_a_double_click_records_one_voice_message(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Say something")
    seat = seat_with_held_tracks(platform, seats, ada, "Mira Okafor")
    seat.page.get_by_role("button", name="Voice message").dblclick()
    seat.wait_until("window.tracks.length === 2 && window.tracks.some(({ readyState }) => readyState === 'ended')")
    expect(seat.page.get_by_role("timer")).to_be_visible()
    seat.page.keyboard.press("Escape")
    expect(seat.composer).to_be_focused()
    seat.wait_until(ALL_ENDED)


@pytest.mark.slow
def test_a_cropped_picture_takes_the_place_of_the_initials(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Who are you?")
    seat, at_mira = seats(platform, ada), seats(platform, mira, chat="Ada Lindqvist")
    at_mira.until_live()
    seat.choose("Your profile")
    seat.page.locator(".picture-editor input").set_input_files([picture("lake.png")])
    crop = seat.page.get_by_role("dialog", name="Crop the picture")
    expect(crop.get_by_role("slider", name="Zoom")).to_have_value("1")
    crop.get_by_role("group").press("+")
    expect(crop.get_by_role("slider", name="Zoom")).to_have_value("1.1")
    expect_accessible(seat.page, "light", "320 pixels")
    crop.get_by_role("button", name="Save").click()
    expect(seat.page.get_by_role("button", name="Change the picture")).to_be_visible()
    shown = at_mira.row("Ada Lindqvist").locator("img")
    assert shown.evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 96
    seat.page.get_by_role("button", name="Remove the picture").click()
    expect(shown).to_have_count(0)


class Pages(BaseHTTPRequestHandler):
    """Answers as a proxy: a page at every address, and its picture."""

    fetched: list[str] = []  # noqa: RUF012 - one list for all connections: a server makes a handler for each

    def do_GET(self) -> None:
        self.fetched.append(self.path)
        is_picture = self.path.endswith(".png")
        page = b"<title>Eggs of the rook</title><meta property=og:image content=egg.png>"
        self.send_response(200)
        self.send_header("Content-Type", "image/png" if is_picture else "text/html")
        self.end_headers()
        self.wfile.write(picture("egg.png")["buffer"] if is_picture else page)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.mark.slow
def test_a_link_has_a_preview_until_its_sender_removes_it_or_wants_none_in_the_chat(
    tmp_path: Path, release: dict[str, str], seats: Seats
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as proxy:
        Thread(target=proxy.serve_forever).start()
        settings = {"ROOKERY_PREVIEWS__PROXY": f"http://127.0.0.1:{proxy.server_port}"}
        with running(Platform(tmp_path / "data", settings=release | settings)) as platform:
            ada, mira = platform.register("Ada Lindqvist"), platform.register("Mira Okafor")
            platform.send(mira, ada.chat_with(mira), "Any news?")
            at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
            at_ada.write("Look: http://eggs.test/nest")
            card = at_mira.messages.get_by_role("link", name="eggs.test Eggs of the rook")
            expect(card).to_have_attribute("href", "http://eggs.test/nest")
            at_mira.wait_until("document.querySelector('.card-picture')?.naturalWidth === 240")
            expect_accessible(at_mira.page, "light")
            at_mira.page.get_by_role("button", name="Chat options").click()
            at_mira.page.get_by_role("menuitem", name="Photos, files and links").click()
            at_mira.page.get_by_role("tab", name="Links").click()
            dialog = at_mira.page.get_by_role("dialog")
            expect(dialog.get_by_role("link", name="Eggs of the rook eggs.test/nest Ada Lindqvist")).to_be_visible()
            expect_accessible(at_mira.page, "light")
            at_mira.page.keyboard.press("Escape")
            choose(at_ada, "Look", "Remove preview")
            expect(card).to_have_count(0)

            phone = seats(platform, ada, size="phone", chat="Mira Okafor")
            at_ada.page.get_by_role("button", name="Chat options").click()
            at_ada.page.get_by_role("menuitem", name=re.compile("^Don.t preview my links$")).click()
            phone.page.get_by_role("button", name="Chat options").click()
            expect(phone.page.get_by_role("menuitem", name="Preview my links", exact=True)).to_be_visible()
            phone.page.keyboard.press("Escape")
            phone.write("Quietly: http://eggs.test/off")
            expect(at_mira.messages.get_by_role("link", name="http://eggs.test/off")).to_be_visible()
            at_mira.write("Aloud: http://eggs.test/on")
            expect(at_ada.messages.get_by_role("link", name="eggs.test Eggs of the rook")).to_have_attribute(
                "href", "http://eggs.test/on"
            )
            assert "http://eggs.test/on" in Pages.fetched
            assert "http://eggs.test/off" not in Pages.fetched
        proxy.shutdown()
