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

from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.scene import wait_for

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
SEEN = re.compile(r"\d (person|car|bicycle)")
# Where a picture of the page goes, for the README.
SCREENSHOT = os.environ.get("PAGE_SCREENSHOT")


@pytest.fixture
def browser_page() -> Iterator[Any]:
    """A tab of a headless Chromium; what it says of errors fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
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
    first = process.line(30)
    assert first
    return process, json.loads(first)["address"]


def wait_for_width(image: Any, width: int) -> None:
    """Waits until a picture is loaded; the page's policy evaluates no strings, so it is asked from outside."""
    wait_for(lambda: image.evaluate("image => image.naturalWidth") == width, "picture", 20)


@pytest.mark.timeout(240)
def test_somebody_watches_two_cameras(aws: Aws, name: str, tmp_path: Path, browser_page: Any) -> None:
    from playwright.sync_api import expect

    resources, page = Resources.create(aws.url, name, shards=1), browser_page
    environment = resources.environment() | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
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
        expect(page.locator("article:visible")).to_have_count(2, timeout=60_000)
        for source in ("door", "yard"):
            tile = page.locator(f"article[data-source={source}]")
            expect(tile.locator(".seen")).to_have_text(SEEN, timeout=30_000)
            wait_for_width(tile.locator("img"), 640)
        expect(page.locator("#chart polyline")).not_to_have_count(0)
        if SCREENSHOT:
            page.wait_for_timeout(15_000)
            page.screenshot(path=SCREENSHOT)

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
        wait_for_width(page.locator("dialog img"), 640)
        page.get_by_role("button", name="Close").click()

        # The server goes away and comes back.
        consumer.process.kill()
        expect(page.get_by_role("status")).to_have_text("connection lost, trying again")
        consumer.stop()
        consumer, _ = start(environment, int(address.rstrip("/").rpartition(":")[2]))
        expect(page.get_by_role("status")).to_have_text("connected", timeout=30_000)
        before = page.locator("article[data-source=door] img").get_attribute("src")
        expect(page.locator("article[data-source=door] img")).not_to_have_attribute("src", before, timeout=30_000)
        assert consumer.stop() == 0


@pytest.mark.timeout(120)
def test_on_a_phone_nothing_is_wider_than_the_screen(resources: Resources, browser_page: Any) -> None:
    from playwright.sync_api import expect

    from tests.unit.test_consumer import body, send

    hostile = [{"class": "<img src=x onerror=alert(1)>", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]}]
    send(resources, body(1, source="a" * 128, summary=hostile, detections_count=1))
    consumer, address = start(resources.environment())
    browser_page.set_viewport_size({"width": 375, "height": 700})
    browser_page.goto(address)
    expect(browser_page.locator("article:visible")).to_have_count(1, timeout=20_000)
    # What a message says is text.
    expect(browser_page.locator("#legend")).to_contain_text("<img src=x")
    assert browser_page.locator("#legend img").count() == 0
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 375
    assert consumer.stop() == 0
