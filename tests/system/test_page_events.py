"""Events on the live page, in a real browser: timeline, list, dialog, film."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest

from contract.event import EventMessage
from local.resources import Resources
from local.waiting import wait_for
from tests.happenings import happening, store, store_frame
from tests.pictures import street_jpeg
from tests.system.test_page import BROWSER, Shown, browser_page, start, wait_for_width
from tests.unit.test_consumer import body, send

__all__ = ["browser_page"]
pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
MINUTE = timedelta(minutes=1)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def visits(resources: Resources) -> list[EventMessage]:
    """Three events of the last hour at two places, with frames around the first."""
    now, bucket = datetime.now(UTC), resources.bucket
    first = happening(bucket, now - 30 * MINUTE)
    for fifth in range(-5, 26):
        store_frame(resources, first, fifth / 5, street_jpeg(seed=fifth % 3))
    crossed: dict[str, Any] = {"event": "cross", "rule": "entrance", "zone": None, "line": "gate", "direction": "in"}
    return [
        store(resources, first, street_jpeg(seed=7)),
        store(resources, happening(bucket, now - 20 * MINUTE, source="yard", classes=["car", HOSTILE], **crossed)),
        store(resources, happening(bucket, now - 10 * MINUTE, source="yard", snapshot_key=None)),
    ]


@pytest.fixture
def shown(resources: Resources, visits: list[EventMessage], browser_page: Any) -> Iterator[Shown]:
    made = Shown(resources, browser_page)
    yield made
    made.server.stop()


def bars(page: Any, source: str) -> Any:
    return page.locator(f".lane[data-source={source}] .bar")


def share_of_width(bar: Any) -> float:
    """In percent of the timeline's."""
    return float(bar.evaluate("bar => bar.style.width").rstrip("%"))


def test_somebody_looks_at_what_has_happened(shown: Shown, resources: Resources, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = shown.page
    expect(bars(page, "yard")).to_have_count(2)
    expect(bars(page, "door")).to_have_count(1)
    expect(page.locator("#events tr")).to_have_count(3)
    # What was there before the first visit counts as seen.
    expect(page.locator("#unseen")).to_have_text("all seen")

    # Somebody comes: a bar that grows until it ends, and a mark.
    now = datetime.now(UTC)
    store(resources, happening(resources.bucket, now, seconds=None))
    expect(bars(page, "door")).to_have_count(2)
    growing = page.locator(".bar.growing")
    width = share_of_width(growing)
    wait_for(lambda: share_of_width(growing) > width, "a bar that grows")
    expect(page.locator("#events tr").first).to_contain_text("goes on")
    expect(page.locator("#unseen")).to_have_text("1 not seen yet")
    expect(page).to_have_title("(1) cv2kinesis: live")
    store(resources, happening(resources.bucket, now, seconds=3.0))
    expect(growing).to_have_count(0)
    expect(page.locator("#events tr").first).to_contain_text("3.0 s")

    # They open it, and have then seen it, after a restart of the server too.
    page.locator("#events tr").first.get_by_role("button").click()
    expect(page.locator("#event")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#unseen")).to_have_text("all seen")
    shown.start_again()
    page.reload()
    expect(page.locator("#events tr")).to_have_count(4)
    expect(page.locator("#unseen")).to_have_text("all seen")

    # The picture of an event, the frames around it, played and stepped through, and its film.
    bars(page, "door").first.click()
    dialog = page.locator("#event")
    expect(dialog).to_contain_text("door: visitor, appear step: person, 4.0 s")
    wait_for_width(dialog.locator("img"), 320)
    expect(dialog).to_contain_text("31 frames around it, from the bucket")
    dialog.get_by_role("button", name="Play").click()
    expect(dialog.get_by_role("button", name="Pause")).to_be_visible()
    expect(dialog.locator("input[type=range]")).not_to_have_value("0")
    dialog.get_by_role("button", name="Pause").click()
    dialog.locator("input[type=range]").fill("30")
    expect(dialog.locator("img")).to_have_attribute("src", re.compile(r"/event-frames/.*/30\?"))
    wait_for_width(dialog.locator("img"), 320)
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download as a film").click()
    assert re.fullmatch(r"door-visitor-.*\.mp4", download.value.suggested_filename)
    download.value.save_as(tmp_path / "visit.mp4")
    film = cv2.VideoCapture(str(tmp_path / "visit.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 31
    # The stream's frames are too old.
    dialog.get_by_label("boxes").uncheck()
    expect(dialog).to_contain_text("No frames around it: event")


def test_filters_and_times(shown: Shown) -> None:
    from playwright.sync_api import expect

    page, rows = shown.page, shown.page.locator("#events tr")
    expect(rows).to_have_count(3)
    for select, value, number in (
        ("#kind", "cross", 1),
        ("#zone", "gate", 1),
        ("#zone", "step", 2),
        ("#source", "yard", 2),
        ("#class", HOSTILE, 1),  # which is text
    ):
        page.locator(select).select_option(value)
        expect(rows).to_have_count(number)
        page.locator(select).select_option("")
    expect(rows).to_have_count(3)
    assert page.locator("#events img, #timeline img").count() == 0
    page.get_by_role("button", name="Earlier").click()
    expect(rows).to_have_count(0)
    expect(page.locator("#events-empty")).to_be_visible()
    page.get_by_role("button", name="1 day").click()
    expect(rows).to_have_count(0)
    page.get_by_role("button", name="Now").click()
    expect(rows).to_have_count(3)
    page.locator("#until").fill((datetime.now() - 15 * MINUTE).strftime("%Y-%m-%dT%H:%M"))
    expect(rows).to_have_count(2)


def test_by_keyboard_alone(shown: Shown) -> None:
    from playwright.sync_api import expect

    page = shown.page
    expect(bars(page, "yard")).to_have_count(2)

    def focused() -> Any:
        return page.evaluate_handle("document.activeElement").as_element()

    for _ in range(40):
        page.keyboard.press("Tab")
        if "bar" in (focused().get_attribute("class") or ""):
            break
    # The only tab stop of the timeline.
    labels = [focused().get_attribute("aria-label")]
    for key in ("ArrowUp", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        labels.append(focused().get_attribute("aria-label"))
    assert len(set(labels)) == 3, labels
    page.keyboard.press("Enter")
    dialog = page.locator("#event")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "bar" in focused().get_attribute("class")


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour, by WCAG 2.1."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_in_light_and_dark(shown: Shown, resources: Resources, scheme: str) -> None:
    from playwright.sync_api import expect

    page = shown.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    send(resources, body(0, source="a" * 128))
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("#events tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    bars(page, "door").first.click()
    wait_for_width(page.locator("#event img"), 320)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#event").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    # Text and ground differ by far: W3C's WCAG asks for a ratio of 4.5.
    ink, ground = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    lights = sorted([luminance(ink), luminance(ground)])
    assert (lights[1] + 0.05) / (lights[0] + 0.05) > 4.5


def test_fifty_sources_load_the_pictures_that_can_be_seen(resources: Resources, browser_page: Any) -> None:
    from playwright.sync_api import expect

    s3 = resources.client("s3")
    for number in range(50):
        message = body(number, bucket=resources.bucket, source=f"cam-{number:02}")
        s3.put_object(Bucket=resources.bucket, Key=json.loads(message)["key"], Body=street_jpeg())
        send(resources, message)
        if number % 5 == 0:
            store(resources, happening(resources.bucket, datetime.now(UTC) - MINUTE, source=f"cam-{number:02}"))
    server, address = start(resources.environment())
    asked: set[str] = set()
    browser_page.on("request", lambda request: asked.add(request.url) if "/frames/" in request.url else None)
    browser_page.goto(address)
    tiles = browser_page.locator("article")
    expect(tiles).to_have_count(50)
    expect(browser_page.locator(".lane")).to_have_count(50)
    expect(browser_page.locator(".bar")).to_have_count(10)
    wait_for_width(tiles.first.locator("img"), 320)
    assert tiles.last.locator("img").get_attribute("src") is None
    assert len(asked) < 40
    tiles.last.scroll_into_view_if_needed()
    wait_for_width(tiles.last.locator("img"), 320)
    assert server.stop() == 0
