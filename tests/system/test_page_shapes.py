"""Zones and lines on the live page: drawn with mouse, finger and keys, tried, saved; and who may do so."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from contract.source_settings import SourceSettings
from local.processes import Process
from local.resources import Resources
from local.waiting import wait_for
from tests.pictures import street_jpeg
from tests.system.test_page import BROWSER, browser_page, start, wait_for_width
from tests.system.test_web import Page
from tests.unit.test_consumer import body, run, send
from tests.unit.test_trying import seen

__all__ = ["browser_page"]
browser = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
SETTINGS = {
    "tracking": True,
    "zones": [{"name": "step", "polygon": [[0.1, 0.1], [0.4, 0.1], [0.4, 0.4]]}],
    "events": [{"name": "visitor", "kind": "appear", "zone": "step"}],
}


def walk(resources: Resources) -> None:
    """Somebody walks down through the middle of the picture, in eleven frames."""
    for number in range(11):
        changes = {key: value for key, value in seen(number, a=(0.5, 0.1 + 0.08 * number)).items() if key != "frame_id"}
        key = json.loads(body(number))["key"]
        resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=street_jpeg())
        send(resources, body(number, bucket=resources.bucket, source="cam", detections_count=1, **changes))


def settings_of(resources: Resources) -> SourceSettings:
    found = resources.client("ssm").get_parameter(Name=f"{resources.sources_path}/cam")
    return SourceSettings.parse(found["Parameter"]["Value"])


class Api:
    """A server that may be asked to change things."""

    def __init__(self, resources: Resources, *arguments: str) -> None:
        self.page = Page(resources, *arguments)
        base, _, token = self.page.address.partition("?token=")
        self.base, self.token = base, token

    def ask(self, method: str, path: str, content: Any = None, kind: str = "application/json") -> tuple[int, Any]:
        headers = {"content-type": kind} | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        data = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text.decode()

    def stop(self) -> None:
        assert self.page.process.stop() == 0


@pytest.fixture
def api(resources: Resources) -> Iterator[Api]:
    resources.configure("cam", json.dumps(SETTINGS))
    made = Api(resources, "--allow-configure")
    yield made
    made.stop()


SHAPES = "api/sources/cam/shapes"


def test_zones_and_lines_are_changed_and_the_rest_stays(api: Api, resources: Resources) -> None:
    assert api.token
    status, found = api.ask("GET", SHAPES)
    assert (status, found["zones"], found["lines"]) == (200, SETTINGS["zones"], [])
    line = {"name": "gate", "start": [0, 0.5], "end": [1, 0.5]}
    status, answer = api.ask("PUT", SHAPES, {"zones": found["zones"], "lines": [line], "version": found["version"]})
    assert (status, answer["version"]) == (200, found["version"] + 1)
    settings = settings_of(resources)
    assert settings.tracking
    assert settings.events[0].name == "visitor"
    assert settings.lines[0].name == "gate"
    # Whoever has drawn over an older state is told.
    status, answer = api.ask("PUT", SHAPES, {"zones": found["zones"], "version": found["version"]})
    assert (status, answer["error"].partition(":")[0]) == (409, "somebody else has changed the settings meanwhile")
    walk(resources)
    wait_for(lambda: len(api.ask("GET", "api/detections")[1]["detections"]) == 11, "frames")
    status, tried = api.ask("POST", "api/sources/cam/try", {"zones": [], "lines": [line]})
    assert (status, tried["lines"]) == (200, [{"name": "gate", "in": 1, "out": 0}])
    assert api.ask("GET", "api/sources/new/shapes")[1] == {"zones": [], "lines": [], "version": 0}


BAD: list[tuple[Any, str]] = [
    (
        {"zones": [{"name": "a", "polygon": [[0, 0], [1, 1]]}]},
        "zones.0.polygon: Tuple should have at least 3 items",
    ),
    ({"zones": [{"name": "a b", "polygon": [[0, 0], [1, 1], [0, 1]]}]}, "zones.0.name: String should match"),
    ({"lines": [{"name": "a", "start": [0, 2], "end": [1, 1]}]}, "lines.0.start.1: Input should be less than"),
    ({"zones": []}, "events: visitor: no zone step; there are: none"),
    ({"lines": [], "tracking": False}, "tracking: no such setting"),
    ([], "Input should be an object"),
]


def test_bad_settings_are_refused_in_the_contracts_words(api: Api, resources: Resources) -> None:
    for drawn, said in BAD:
        status, answer = api.ask("PUT", SHAPES, drawn)
        assert status == 422
        assert said in answer["error"]
    assert settings_of(resources) == SourceSettings.parse(json.dumps(SETTINGS))


def test_what_else_is_refused(api: Api, resources: Resources) -> None:
    assert api.ask("PUT", SHAPES, {"zones": []}, "text/plain")[0] == 415
    assert api.ask("PUT", SHAPES, b" " * 200_000)[0] == 413
    assert api.ask("PUT", "api/sources/a%20b/shapes", {"zones": []})[0] == 404
    long = [
        {"name": f"z{number}", "polygon": [[place / 64, 0.123456789] for place in range(64)]} for number in range(16)
    ]
    status, answer = api.ask("PUT", "api/sources/new/shapes", {"zones": long})
    assert (status, "a parameter holds 4096" in answer["error"]) == (422, True)
    api.token = ""
    assert api.ask("PUT", SHAPES, {"zones": []})[0] == 401


@pytest.mark.thorough
def test_without_the_option_nothing_can_be_changed(resources: Resources) -> None:
    resources.configure("cam", json.dumps(SETTINGS))
    api = Api(resources)
    assert api.ask("GET", SHAPES)[0] == 200
    status, answer = api.ask("PUT", SHAPES, {"zones": []})
    assert (status, "--allow-configure" in answer["error"]) == (403, True)
    api.stop()
    done = run(resources, "web", "--allow-configure", "--sources-path", "")
    assert (done.returncode, done.stderr) == (
        2, "error: --allow-configure: --sources-path, or --from-outputs, is needed\n",
    )  # fmt: skip


@pytest.fixture
def editor(resources: Resources, browser_page: Any) -> Iterator[Any]:
    """The page with a tile, whose source has a zone."""
    from playwright.sync_api import expect

    resources.configure("cam", json.dumps(SETTINGS))
    server = Process("consumer", "web", "--port", "0", "--json", "--allow-configure", env=resources.environment())
    address = json.loads(server.line() or "")["address"]
    browser_page.goto(address)
    expect(browser_page.get_by_role("status").first).to_have_text("connected")
    walk(resources)
    wait_for_width(browser_page.locator("article img"), 320)
    yield browser_page
    server.stop()


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """A place of the picture on the screen."""
    box = page.locator("#draw .surface").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


class TestInABrowser:
    pytestmark = browser

    def test_a_line_is_drawn_with_the_mouse_tried_named_and_saved(self, editor: Any, resources: Resources) -> None:
        from playwright.sync_api import expect

        expect(editor.locator("article .label")).to_have_text("step")
        editor.get_by_role("button", name="Zones and lines").click()
        expect(editor.locator("#draw li")).to_have_count(1)
        editor.get_by_role("button", name="New line").click()
        editor.mouse.click(*at(editor, 0.1, 0.5))
        editor.mouse.click(*at(editor, 0.9, 0.5))
        output = editor.locator("#draw li").nth(1).locator("output")
        expect(output).to_have_text("would have counted 1 in, 0 out")
        editor.get_by_role("button", name="turn line-1 round").click()
        expect(output).to_have_text("would have counted 0 in, 1 out")
        # A corner is dragged away: nobody crosses it there.
        editor.mouse.move(*at(editor, 0.1, 0.5))
        editor.mouse.down()
        editor.mouse.move(*at(editor, 0.9, 0.9), steps=4)
        editor.mouse.up()
        expect(output).to_have_text("would have counted 0 in, 0 out")
        name = editor.get_by_label("name of line line-1")
        name.fill("gate 1")
        name.press("Tab")
        editor.get_by_role("button", name="Save").click()
        expect(editor.locator("#draw [data-part=status]")).to_contain_text("lines.0.name: String should match")
        name = editor.get_by_label("name of line gate 1")
        name.fill("gate")
        name.press("Tab")
        editor.get_by_role("button", name="Save").click()
        expect(editor.locator("#draw")).to_be_hidden()
        expect(editor.locator("article .label")).to_have_text(["step", "gate"])
        [line] = settings_of(resources).lines
        assert line.name == "gate"
        assert line.end == pytest.approx((0.9, 0.9), abs=0.02)
        assert settings_of(resources).zones[0].name == "step"

    def test_a_zone_is_drawn_by_keyboard_alone(self, editor: Any, resources: Resources) -> None:
        from playwright.sync_api import expect

        editor.get_by_role("button", name="Zones and lines").focus()
        editor.keyboard.press("Enter")
        expect(editor.get_by_role("button", name="New zone")).to_be_enabled()
        editor.get_by_role("button", name="New zone").focus()
        editor.keyboard.press("Enter")
        surface = editor.locator("#draw .surface")
        expect(surface).to_be_focused()
        for keys in ("Space", "Shift+ArrowRight", "Space", "Backspace", "Space", "Shift+ArrowDown", "Space"):
            editor.keyboard.press(keys)
        editor.keyboard.press("Enter")
        expect(editor.locator("#draw li")).to_have_count(2)
        expect(editor.locator("#draw output").nth(1)).to_contain_text("would have counted")
        # Escape gives up what is being drawn, not the dialog.
        editor.get_by_role("button", name="New zone").press("Enter")
        editor.keyboard.press("Space")
        editor.keyboard.press("Escape")
        expect(editor.locator("#draw")).to_be_visible()
        editor.get_by_role("button", name="Save").press("Enter")
        expect(editor.locator("#draw")).to_be_hidden()
        polygon = settings_of(resources).zones[1].polygon
        assert polygon == ((0.5, 0.5), (0.55, 0.5), (0.55, 0.55))

    def test_with_a_finger_on_a_phone(self, editor: Any, resources: Resources) -> None:
        from playwright.sync_api import expect

        page = editor.context.browser.new_page(
            viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark"
        )
        page.context.add_cookies(editor.context.cookies())
        page.goto(editor.url)
        page.get_by_role("button", name="Zones and lines").tap()
        expect(page.locator("#draw li")).to_have_count(1)
        page.get_by_role("button", name="New zone").tap()
        for corner in ((0.3, 0.3), (0.7, 0.3), (0.7, 0.9), (0.3, 0.3)):
            page.touchscreen.tap(*at(page, *corner))
        expect(page.locator("#draw li")).to_have_count(2)
        expect(page.locator("#draw output").nth(1)).to_have_text("would have counted 1 at once, 1 tracks")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#draw")).to_be_hidden()
        assert len(settings_of(resources).zones[1].polygon) == 3

    def test_the_picture_stays_where_it_is_while_something_is_drawn(self, editor: Any) -> None:
        from playwright.sync_api import expect

        editor.set_viewport_size({"width": 390, "height": 844})
        held: list[Any] = []
        editor.route("**/try", lambda route: held.append(route))  # its answer comes late
        editor.get_by_role("button", name="Zones and lines").click()
        status = editor.locator("#draw [data-part=status]")
        editor.get_by_role("button", name="New zone").click()
        expect(status).to_contain_text("Set its corners")
        place = editor.locator("#draw .surface").bounding_box()
        editor.mouse.click(*at(editor, 0.3, 0.3))
        wait_for(lambda: editor.evaluate("1") and held, "request")
        with editor.expect_response("**/try"):
            held[0].continue_()
        expect(editor.locator("#draw output").first).to_contain_text("would have counted")
        expect(status).to_contain_text("Set its corners")
        assert editor.locator("#draw .surface").bounding_box() == place
        for corner in ((0.7, 0.3), (0.7, 0.9), (0.3, 0.3)):
            editor.mouse.click(*at(editor, *corner))
        expect(editor.locator("#draw li")).to_have_count(2)
        assert editor.locator("#draw .surface").bounding_box() == place

    def test_without_the_option_there_is_no_button(self, resources: Resources, browser_page: Any) -> None:
        from playwright.sync_api import expect

        server, address = start(resources.environment())
        browser_page.goto(address)
        walk(resources)
        wait_for_width(browser_page.locator("article img"), 320)
        expect(browser_page.get_by_role("button", name="Zones and lines")).to_be_hidden()
        assert server.stop() == 0
