"""The live page in a real browser, on the real pipeline."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import streets
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS, wait_for
from tests.pictures import street_jpeg
from tests.unit.test_consumer import SKIPPED, body, send

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
SEEN = re.compile(r"\d (person|car|bicycle)")
LOST = re.compile(r"connection lost at \d\d:\d\d:\d\d, trying again")
# Where a picture of the page goes, for the README.
SCREENSHOT = os.environ.get("PAGE_SCREENSHOT")


@pytest.fixture
def browser_page() -> Iterator[Any]:
    """A tab of a headless Chromium; what it says of errors fails the test."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: None if is_ours(request.url) else problems.append(request.url))
        yield page
        browser.close()
        assert problems == []


def is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:"))


def start(environment: dict[str, str], port: int = 0) -> tuple[Process, str]:
    process = Process("consumer", "web", "--port", str(port), "--json", env=environment)
    first = process.line()
    assert first
    return process, json.loads(first)["address"]


def wait_for_width(image: Any, width: int) -> None:
    """Waits until a picture is loaded; the page's policy evaluates no strings, so it is asked from outside."""
    wait_for(lambda: image.evaluate("image => image.naturalWidth") == width, "picture")


class Shown:
    """A server whose page shows one camera's frames, which come when a test says so."""

    def __init__(self, resources: Resources, page: Any) -> None:
        self.resources, self.page = resources, page
        self.server, self.address = start(resources.environment())
        page.goto(self.address)

    def frame(self, number: int, *, stored: bool = True) -> None:
        """A frame's message, and its picture, if that is to be had."""
        message = body(number, bucket=self.resources.bucket)
        if stored:
            key = json.loads(message)["key"]
            self.resources.client("s3").put_object(Bucket=self.resources.bucket, Key=key, Body=street_jpeg())
        send(self.resources, message)

    def start_again(self) -> None:
        """On the same port."""
        self.server.stop()
        self.server, _ = start(self.resources.environment(), int(self.address.rstrip("/").rpartition(":")[2]))

    @property
    def picture(self) -> Any:
        """The camera's tile's."""
        return self.page.locator("article img")

    def expect_picture_of(self, number: int) -> None:
        """Waits until the tile shows a frame; a broken picture has no width."""
        from playwright.sync_api import expect

        expect(self.picture).to_have_attribute("src", f"/frames/cam/s/{number:09d}")
        wait_for_width(self.picture, 320)


@pytest.fixture
def shown(resources: Resources, browser_page: Any) -> Iterator[Shown]:
    """With one frame on the page."""
    made = Shown(resources, browser_page)
    made.frame(0)
    made.expect_picture_of(0)
    yield made
    made.server.stop()


def test_frames_that_were_skipped_are_counted_in_words(shown: Shown) -> None:
    from playwright.sync_api import expect

    frames = shown.page.locator("article [data-field=frames]")
    expect(frames).to_have_text("1")
    send(shown.resources, SKIPPED, SKIPPED.replace("000000009", "000000010"))
    expect(frames).to_have_text("1, 2 skipped")


def test_pictures_stay_when_the_server_is_killed(shown: Shown) -> None:
    from playwright.sync_api import expect

    page = shown.page

    def kill_and_ask(route: Any) -> None:
        shown.server.process.kill()
        shown.server.process.wait()
        route.continue_()

    # It dies while the next picture is on its way.
    page.route("**/frames/cam/s/000000001", kill_and_ask)
    shown.frame(1)
    expect(page.get_by_role("status")).to_have_text(LOST)
    expect(page.locator(".problem")).to_have_text(
        re.compile(r"\d\d:\d\d:\d\d: the latest picture could not be loaded, an earlier one is shown")
    )
    shown.expect_picture_of(0)
    # They look into the history, which is still there.
    page.locator("#class").select_option("person")
    page.locator("#history tr", has_text="cam").first.get_by_role("button").click()
    expect(page.locator("#frame p")).to_contain_text("Its picture could not be loaded")
    expect(page.locator("#frame img")).to_be_hidden()
    page.get_by_role("button", name="Close").click()

    page.unroute("**/frames/cam/s/000000001")
    shown.start_again()
    expect(page.get_by_role("status")).to_have_text("connected")
    shown.frame(2)
    shown.expect_picture_of(2)
    expect(page.locator(".problem")).to_have_text("")


def test_a_picture_that_is_gone_leaves_the_last_one(shown: Shown) -> None:
    from playwright.sync_api import expect

    shown.frame(1, stored=False)
    expect(shown.page.locator(".problem")).to_contain_text("could not be loaded")
    shown.expect_picture_of(0)
    expect(shown.page.get_by_role("status")).to_have_text("connected")
    shown.frame(2)
    shown.expect_picture_of(2)
    expect(shown.page.locator(".problem")).to_have_text("")


def test_a_camera_without_any_picture_says_so(resources: Resources, browser_page: Any) -> None:
    from playwright.sync_api import expect

    shown = Shown(resources, browser_page)
    shown.frame(0, stored=False)
    expect(browser_page.locator(".problem")).to_contain_text("there is none to show yet")
    # What has no address cannot be shown as broken.
    assert shown.picture.get_attribute("src") is None
    assert shown.server.stop() == 0


def test_a_server_that_ends_in_good_order_says_so(shown: Shown) -> None:
    from playwright.sync_api import expect

    assert shown.server.stop() == 0
    expect(shown.page.get_by_role("status")).to_have_text(re.compile(r"the server ended at \d\d:\d\d:\d\d"))
    shown.expect_picture_of(0)
    shown.start_again()
    expect(shown.page.get_by_role("status")).to_have_text("connected")


def test_somebody_watches_two_cameras(aws: Aws, name: str, tmp_path: Path, browser_page: Any) -> None:
    from playwright.sync_api import expect

    resources, page = Resources.create(aws.url, name, shards=1), browser_page
    environment = resources.environment() | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
    streets.configure(resources, "door", "yard")
    cameras = ["demo:7", "demo:20", "--source-id", "door", "--source-id", "yard"]
    with (
        Worker(environment, tmp_path / "worker.log") as worker,
        Process("producer", "send", *cameras, "--fps", "4", "--width", "640", "--json", env=environment),
    ):
        # They open the page before anything has come.
        consumer, address = start(environment)
        page.goto(address)
        expect(page.get_by_role("status")).to_have_text("connected")
        expect(page.locator("#empty")).to_be_visible()
        worker.wait_for_shards(1)

        # Both cameras appear, with pictures and what is in them.
        expect(page.locator("article:visible")).to_have_count(2)
        for source in ("door", "yard"):
            tile = page.locator(f"article[data-source={source}]")
            expect(tile.locator(".seen")).to_have_text(SEEN)
            wait_for_width(tile.locator("img"), 640)
        expect(page.locator("#chart polyline")).not_to_have_count(0)
        # Zones and lines lie over the pictures, and what happens there has a bar.
        expect(page.locator("article[data-source=door] .label")).to_have_text(["pavement", "middle"])
        expect(page.locator(".bar.cross")).not_to_have_count(0)
        if SCREENSHOT:
            page.get_by_role("button", name="10 minutes").click()
            page.wait_for_timeout(60_000)
            page.screenshot(path=SCREENSHOT)

        # They open what has happened, and step through the frames around it.
        page.locator("#events tr", has_text="passage").last.get_by_role("button").click()
        dialog = page.locator("#event")
        wait_for_width(dialog.locator("img"), 640)
        expect(dialog).to_contain_text(re.compile(r"\d+ frames around it, from the bucket"))
        dialog.locator("input[type=range]").fill("1")
        expect(dialog.locator("img")).to_have_attribute("src", re.compile(r"/event-frames/.*/1\?"))
        page.get_by_role("button", name="Close").click()

        # They look at one camera alone, then at one class.
        page.locator("#source").select_option("door")
        expect(page.locator("article:visible")).to_have_count(1)
        expect(page.locator("#history tr").first).to_contain_text("door")
        expect(page.locator("#history")).not_to_contain_text("yard")
        page.locator("#source").select_option("")
        page.locator("#class").select_option("person")
        expect(page.locator("#history tr").first).to_contain_text("person")
        page.locator("#class").select_option("")

        # They open a frame of the past.
        page.locator("#history button").last.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        wait_for_width(page.locator("#frame img"), 640)
        page.get_by_role("button", name="Close").click()

        # The server goes away and comes back.
        consumer.process.kill()
        expect(page.get_by_role("status")).to_have_text(LOST)
        consumer.stop()
        consumer, _ = start(environment, int(address.rstrip("/").rpartition(":")[2]))
        expect(page.get_by_role("status")).to_have_text("connected")
        # Pictures are fetched of what can be seen.
        page.locator("article[data-source=door]").scroll_into_view_if_needed()
        before = page.locator("article[data-source=door] img").get_attribute("src")
        expect(page.locator("article[data-source=door] img")).not_to_have_attribute("src", before)
        assert consumer.stop() == 0


def test_on_a_phone_nothing_is_wider_than_the_screen(resources: Resources, browser_page: Any) -> None:
    from playwright.sync_api import expect

    hostile = [{"class": "<img src=x onerror=alert(1)>", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]}]
    send(resources, body(1, source="a" * 128, summary=hostile, detections_count=1))
    consumer, address = start(resources.environment())
    browser_page.set_viewport_size({"width": 375, "height": 700})
    browser_page.goto(address)
    expect(browser_page.locator("article:visible")).to_have_count(1)
    # What a message says is text.
    expect(browser_page.locator("#legend")).to_contain_text("<img src=x")
    assert browser_page.locator("#legend img").count() == 0
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 375
    assert consumer.stop() == 0
