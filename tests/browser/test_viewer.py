"""The viewer of pictures by touch: swiping, pinching, moving and tapping with fingers. Videos play, or say why not."""

from collections.abc import Sequence

import pytest
from playwright.sync_api import FilePayload, FloatRect, Locator, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_files import attach, picture

STEPS = 10

Point = tuple[float, float]

VIDEO: FilePayload = {"name": "clip.webm", "mimeType": "video/webm", "buffer": b"\x1a\x45\xdf\xa3\x01webm" + bytes(99)}
"""Begins like a video, and is none."""

UNPLAYABLE = "This browser can\u2019t play the video. Download it."

RECORD = """async () => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 64, height: 36});
  const context = canvas.getContext('2d');
  const recorder = new MediaRecorder(canvas.captureStream(30), {mimeType: 'video/webm;codecs=vp8'});
  const pieces = [];
  recorder.ondataavailable = ({data}) => pieces.push(data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  for (let frame = 0; frame < 60; frame++) {
    context.fillStyle = frame % 2 ? 'teal' : 'olive';
    context.fillRect(0, 0, 64, 36);
    await new Promise(requestAnimationFrame);
  }
  recorder.stop();
  await stopped;
  return [...new Uint8Array(await new Blob(pieces).arrayBuffer())];
}"""
"""Records a video of a second. Its bytes are some kB."""


class Fingers:
    """Touches the screen of a phone."""

    def __init__(self, seat: Seat) -> None:
        self._page = seat.page
        self._session = seat.context.new_cdp_session(seat.page)

    def move(self, *paths: tuple[Point, Point], rest_ms: int = 0) -> None:
        """Put a finger at the start of each path, and move them all to the ends. They rest there for this time:
        Chromium takes a tap after a fast movement for one that stops it."""
        self._touch("touchStart", [start for start, _ in paths])
        for step in range(1, STEPS + 1):
            self._touch("touchMove", [_between(*path, step / STEPS) for path in paths])
        self._page.wait_for_timeout(rest_ms)
        self._touch("touchEnd", [])

    def tap(self, at: Point) -> None:
        self._touch("touchStart", [at])
        self._touch("touchEnd", [])

    def tap_twice(self, at: Point) -> None:
        """Two taps at one time of the page: on a busy machine they take longer than a double tap may."""
        self._page.evaluate("() => { const now = performance.now(); performance.now = () => now; }")
        self.tap(at)
        self.tap(at)
        self._page.evaluate("() => { delete performance.now; }")

    def _touch(self, kind: str, points: Sequence[Point]) -> None:
        touches = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def _between(start: Point, end: Point, part: float) -> Point:
    return (start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part)


@pytest.fixture
def phone(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    """Mira's phone with three pictures of Ada in the chat, of which the wide one has many pixels, and a video."""
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada = seats(platform, ada, chat="Mira Okafor")
    attach(at_ada, picture("tall.png", 300, 900), picture("wide.png", 3_600, 2_400), picture("last.png"), VIDEO)
    at_ada.composer.press("Enter")
    expect(at_ada.messages.last).to_contain_text("Sent")
    seat = seats(platform, mira, size="phone", has_touch=True, is_mobile=True)
    seat.row("Ada Lindqvist").tap()
    return seat


def open_picture(seat: Seat, name: str) -> Locator:
    """Open the viewer; return the place of the shown picture."""
    seat.page.get_by_role("button", name=f"Open the photo {name}").tap()
    expect(shown(seat, name)).to_be_visible()
    return seat.page.locator(".shown.picture")


def shown(seat: Seat, name: str) -> Locator:
    return seat.page.get_by_role("dialog", name="Photos of this chat").get_by_role("img", name=name)


def box_of(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None
    return box


def middle_of(box: FloatRect) -> Point:
    return (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_a_swipe_shows_the_next_or_the_previous_picture_and_a_swipe_down_closes(phone: Seat, direction: str) -> None:
    phone.page.evaluate("(direction) => (document.dir = direction)", direction)
    place, fingers = open_picture(phone, "wide.png"), Fingers(phone)
    x, y = middle_of(box_of(place))
    ahead = -150 if direction == "ltr" else 150

    def swipe(across: float, down: float = 0) -> None:
        fingers.move(((x - across / 2, y), (x + across / 2, y + down)))

    swipe(ahead)
    expect(shown(phone, "last.png")).to_be_visible()
    swipe(-ahead)
    expect(shown(phone, "wide.png")).to_be_visible()
    swipe(-ahead)
    expect(shown(phone, "tall.png")).to_be_visible()
    box = box_of(place)
    for across, down in ((-ahead, 0), (40, 0), (0, 40), (0, -200)):  # there is no picture before it; too short; up
        swipe(across, down)
        expect(shown(phone, "tall.png")).to_be_visible()
        assert box_of(place) == box
    swipe(0, 150)
    expect(phone.page.get_by_role("dialog")).to_have_count(0)
    expect(phone.page.get_by_role("button", name="Open the photo wide.png")).to_be_focused()


@pytest.mark.slow
def test_fingers_enlarge_a_picture_around_their_middle_and_move_it_within_its_edges(phone: Seat) -> None:
    place, fingers = open_picture(phone, "wide.png"), Fingers(phone)
    sharp = place.locator(".sharp")
    expect(sharp).to_be_visible()
    pixels = sharp.evaluate("(image) => image.naturalWidth")
    before = box_of(place)
    middle, y = middle_of(before)
    x = middle + 60

    def pinch(from_distance: float, to_distance: float, by: float = 0) -> None:
        """Move two fingers around a point, which moves to the right."""
        half, other = from_distance / 2, to_distance / 2
        fingers.move(((x - half, y), (x + by - other, y)), ((x + half, y), (x + by + other, y)))

    def part_at(across: float) -> float:
        """The part of the picture, from its left edge, that is at this place of the screen."""
        box = box_of(place)
        return (across - box["x"]) / box["width"]

    part = part_at(x)
    pinch(40, 160)
    assert box_of(place)["width"] == pytest.approx(4 * before["width"], rel=0.01)
    assert part_at(x) == pytest.approx(part, abs=0.005)
    phone.wait_until(f"document.querySelector('.sharp').naturalWidth > {pixels}")

    box = box_of(place)
    fingers.move(((x, y), (x - 150, y - 80)))
    moved = box_of(place)
    assert (moved["x"] - box["x"], moved["y"] - box["y"]) == pytest.approx((-150, -80), abs=1)
    for _ in range(6):
        fingers.move(((350, y), (20, y)))
    assert box_of(place)["x"] + moved["width"] == pytest.approx(before["x"] + before["width"], abs=1)  # its right edge
    expect(shown(phone, "wide.png")).to_be_visible()

    part = part_at(x)
    pinch(100, 80, by=30)
    assert box_of(place)["width"] == pytest.approx(3.2 * before["width"], rel=0.01)
    assert part_at(x + 30) == pytest.approx(part, abs=0.005)
    pinch(160, 20)
    assert box_of(place) == pytest.approx(before, abs=0.5)
    fingers.move(((x, y), (x - 150, y)))
    expect(shown(phone, "last.png")).to_be_visible()


@pytest.mark.slow
def test_a_double_tap_enlarges_a_picture_where_it_is_tapped_and_another_one_shows_it_whole(phone: Seat) -> None:
    place, fingers = open_picture(phone, "wide.png"), Fingers(phone)
    before = box_of(place)
    x, y = middle_of(before)
    fingers.tap((x + 100, y))
    phone.page.wait_for_timeout(400)  # two single taps
    fingers.tap((x + 100, y))
    assert box_of(place) == before
    phone.page.wait_for_timeout(400)
    fingers.tap_twice((x + 100, y))
    enlarged = box_of(place)
    assert enlarged["width"] == pytest.approx(2.5 * before["width"])
    assert enlarged["x"] == pytest.approx(x + 100 - 2.5 * (x + 100 - before["x"]))
    fingers.tap_twice((x - 80, y))
    assert box_of(place) == before


@pytest.mark.slow
def test_an_enlarged_picture_stays_within_its_edges_when_the_phone_is_turned(phone: Seat) -> None:
    place, fingers = open_picture(phone, "wide.png"), Fingers(phone)
    x, y = middle_of(box_of(place))
    fingers.tap_twice((x, y))
    for _ in range(6):
        fingers.move(((350, y), (20, y)))
    size = phone.page.viewport_size
    assert size is not None
    phone.page.set_viewport_size({"width": size["height"], "height": size["width"]})
    stage = phone.page.locator(".stage")
    expect(stage).to_have_js_property("clientWidth", size["height"])
    phone.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box, room = box_of(place), box_of(stage)
    assert box["width"] > room["width"]
    assert box["x"] + box["width"] == pytest.approx(room["x"] + room["width"], abs=1)  # its right edge
    assert box["y"] <= room["y"] + 1
    assert box["y"] + box["height"] >= room["y"] + room["height"] - 1


@pytest.mark.slow
def test_a_video_which_keeps_touches_for_its_controls_has_buttons_to_turn_over(phone: Seat) -> None:
    place, fingers = open_picture(phone, "last.png"), Fingers(phone)
    x, y = middle_of(box_of(place))
    expect(phone.page.get_by_role("button", name="Next")).to_be_hidden()
    fingers.move(((x, y), (x - 150, y)), rest_ms=300)
    expect(phone.page.locator("video")).to_be_visible()
    phone.page.get_by_role("button", name="Previous").tap()
    expect(shown(phone, "last.png")).to_be_visible()


@pytest.mark.slow
def test_a_video_plays_and_one_that_the_browser_cant_decode_can_be_downloaded(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    seat = seats(platform, ada, chat="Mira Okafor")
    recorded: FilePayload = {**VIDEO, "name": "real.webm", "buffer": bytes(seat.page.evaluate(RECORD))}
    for text, video in (("It plays", recorded), ("It does not", VIDEO)):
        attach(seat, video)
        seat.write(text)
        expect(seat.message(text)).to_contain_text("Sent")
    seat.page.reload()
    plays, fails = seat.message("It plays"), seat.message("It does not")
    player = plays.get_by_label("Video real.webm")
    player.evaluate("(video) => Object.assign(video, {muted: true}).play()")
    seat.wait_until("document.querySelector('video').currentTime > 0.3")
    expect(fails.get_by_role("button", name=UNPLAYABLE)).to_be_visible()
    for words in (fails.get_by_text("Not available any more"), plays.get_by_text(UNPLAYABLE)):
        expect(words).to_be_hidden()
    with seat.page.expect_download() as download:
        fails.get_by_role("button", name=UNPLAYABLE).click()
    assert download.value.path().read_bytes() == VIDEO["buffer"]


@pytest.mark.slow
def test_the_viewer_offers_a_video_that_the_browser_cant_decode_for_download(phone: Seat) -> None:
    phone.page.get_by_role("button", name="Video clip.webm").tap()
    viewer = phone.page.get_by_role("dialog", name="Photos of this chat")
    instead = viewer.get_by_role("button", name=UNPLAYABLE)
    expect(instead).to_be_visible()
    expect(viewer.get_by_text("Not available any more")).to_be_hidden()
    with phone.page.expect_download() as download:
        instead.tap()
    assert download.value.suggested_filename == "clip.webm"
