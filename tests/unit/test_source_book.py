"""Settings of single sources: operators store them, and a worker applies them."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.errors import ServiceError
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.sinks import RENEW_SECONDS, StateStore
from kcl_worker.tracking.source_book import SourceBook
from local.resources import Resources
from local.waiting import PATIENCE_SECONDS
from stacks import sources
from stacks.config import Config
from stacks.errors import DeployError

CLASSES = ("cat", "dog")


def book(resources: Resources) -> SourceBook:
    return SourceBook(resources.client("ssm"), resources.sources_path, CLASSES, Caller())


async def test_settings_are_those_of_their_source(resources: Resources) -> None:
    for number in range(12):  # more than a page
        resources.configure(f"cam-{number}", json.dumps({"confidence_threshold": number / 100}))
    mine = book(resources)
    await mine.load()
    assert [mine.of(f"cam-{number}").confidence_threshold for number in range(12)] == [n / 100 for n in range(12)]
    assert mine.of("nobody") is DEFAULT


async def test_they_are_applied_while_the_worker_runs_and_bad_ones_are_not(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    mine = book(resources)
    resources.configure("door", '{"classes": ["cat"]}')
    await mine.load()
    running = asyncio.create_task(mine.run(0.05))

    async def until(text: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while caplog.text.count(text) < times:
                await asyncio.sleep(0.02)

    caplog.set_level("INFO")
    resources.configure("door", '{"classes": ["horse"]}')
    await until("door: classes: horse: the model knows cat, dog; it stays as it was")
    assert mine.of("door").classes == ("cat",)
    resources.configure("yard", "{}")
    await until("applied")
    assert caplog.text.count("horse") == 1  # once, although it was read again
    resources.configure("door", '{"classes": ["dog"]}')
    await until("applied", 2)
    assert mine.of("door").classes == ("dog",)
    resources.client("ssm").delete_parameter(Name=f"{resources.sources_path}/door")
    await until("removed")
    assert mine.of("door") is DEFAULT
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_tracking_without_its_extra_is_refused_when_it_is_read(
    resources: Resources, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)  # as if it were not installed
    resources.configure("door", '{"tracking": true}')
    resources.configure("gate", '{"lines": [{"name": "gate", "start": [0, 0.5], "end": [1, 0.5]}]}')
    resources.configure("yard", '{"classes": ["cat"]}')
    mine = book(resources)
    await mine.load()
    assert (mine.of("door"), mine.of("gate")) == (DEFAULT, DEFAULT)
    assert mine.of("yard").classes == ("cat",)
    for source in ("door", "gate"):
        assert f"{source}: tracking: the extra `tracking` is not installed here: " in caplog.text


async def test_settings_that_are_closed_to_the_worker_end_it(resources: Resources) -> None:
    class Closed:
        def get_parameters_by_path(self, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath")

    with pytest.raises(ServiceError, match="ssm read /x: AccessDeniedException"):
        await SourceBook(Closed(), "/x", CLASSES, Caller()).load()


async def test_each_page_is_read_once_however_often_it_is_throttled(resources: Resources) -> None:
    """A quota of calls for many workers: a reading that begins anew at each refusal would never end."""

    class Throttled:
        calls = refusals = 0

        def get_parameters_by_path(self, **arguments: Any) -> Any:
            self.calls += 1
            if self.calls % 3:
                self.refusals += 1
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "GetParametersByPath")
            return resources.client("ssm").get_parameters_by_path(**arguments)

    for number in range(35):
        resources.configure(f"cam-{number}", json.dumps({"confidence_threshold": number / 100}))
    ssm = Throttled()
    mine = SourceBook(ssm, resources.sources_path, CLASSES, Caller())
    await mine.load()
    assert [mine.of(f"cam-{number}").confidence_threshold for number in range(35)] == [n / 100 for n in range(35)]
    assert ssm.calls - ssm.refusals == 4


# Settings of others may be broken: only those that are not meant to hide anything leave their source as all are.
BROKEN = [
    '{"privacy": {"blur": ["elf"]}}', '{"privcy": {"blur": ["cat"]}}', '{"priv', "[]", "",
    '{"detect": {"every": 2, "privacy": {"blur": ["cat"]}}}', '{"zones": {"privcy": {"blur": ["cat"]}}}',
    '{"detect": {"blur": ["cat"]}}', "[" * 4000, '{"zones": ' + "[" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("broken", [*BROKEN, '{"zones": 1}', '{"zones": [{"name": "a", "polygon": 1}]}'])
async def test_what_a_source_hides_stays_hidden_though_its_settings_break_and_the_worker_ends(
    resources: Resources, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    memory = StateStore(resources.client("s3"), resources.bucket, "app", Caller())

    async def worker() -> SourceBook:
        mine = SourceBook(resources.client("ssm"), resources.sources_path, CLASSES, Caller(), memory=memory)
        await mine.load()
        return mine

    resources.configure("door", '{"privacy": {"blur": ["cat"]}}')
    assert (await worker()).of("door").privacy.blur == ("cat",)
    for source in ("door", "yard"):
        resources.configure(source, broken or " ")
    mine = await worker()
    assert mine.of("door").privacy.blur == ("cat",)
    if broken not in BROKEN:
        assert mine.of("yard") == DEFAULT
        return
    assert mine.of("yard").store == "none"  # nobody knows what it may show
    assert mine.of("yard").privacy.masks
    assert mine.anything_hidden()
    assert "yard: nothing of it is shown until its settings can be used" in caplog.text


@pytest.mark.parametrize("broken", [False, True])
async def test_what_is_remembered_is_stored_again_before_the_bucket_deletes_it(
    resources: Resources, broken: bool
) -> None:
    s3, now = resources.client("s3"), [0.0]
    memory = StateStore(s3, resources.bucket, "app", Caller())
    resources.configure("door", '{"privacy": {"blur": ["cat"]}}')
    mine = SourceBook(
        resources.client("ssm"), resources.sources_path, CLASSES, Caller(), memory=memory, clock=lambda: now[0]
    )
    await mine.load()
    if broken:
        resources.configure("door", "{")
    for later, there in ((RENEW_SECONDS, True), (2 * RENEW_SECONDS - 1, False)):
        for stored in s3.list_objects_v2(Bucket=resources.bucket)["Contents"]:
            s3.delete_object(Bucket=resources.bucket, Key=stored["Key"])
        now[0] = later
        await mine.load()
        assert bool(s3.list_objects_v2(Bucket=resources.bucket)["KeyCount"]) == there


async def test_what_a_source_does_not_say_is_said_for_all(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    zone = {"name": "door", "polygon": [[0, 0], [1, 0], [1, 1]]}
    text = json.dumps({"store": "events", "zones": [zone], "events": [{"name": "v", "kind": "appear", "zone": "door"}]})
    defaults = SourceSettings.parse(text)
    mine = SourceBook(resources.client("ssm"), resources.sources_path, CLASSES, Caller(), defaults)
    resources.configure("own", '{"store": "none", "announce": "detections"}')
    resources.configure("bad", '{"zones": []}')  # of which a rule of all sources speaks
    await mine.load()
    assert mine.of("nobody") == defaults
    assert (mine.of("own").store, mine.of("own").announce, mine.of("own").events) == (
        "none", "detections", defaults.events
    )  # fmt: skip
    assert mine.of("bad") == defaults
    assert "bad: events: v: no zone door; there are: none; it stays as it was" in caplog.text


def test_operators_put_and_remove_them(resources: Resources, tmp_path: Path, name: str) -> None:
    ssm, config = resources.client("ssm"), Config.of({"suffix": f"-{name[:12]}"})
    file = tmp_path / "door.json"
    file.write_text('{"tracking": true, "zones": []}')
    sources.put(ssm, config, "door", file)
    assert sources.show(ssm, config) == ['door  {"tracking":true,"zones":[]}']
    # What a source says goes before what its environment says of all, also where it is the usual.
    file.write_text('{"store": "all", "zones": [], "tracking": true}')
    sources.put(ssm, config, "door", file)
    assert '"store":"all"' in sources.show(ssm, config)[0]
    file.write_text('{"tracking": 7, "colour": 1}')
    with pytest.raises(DeployError, match=r"door\.json: tracking: .*; colour: no such setting"):
        sources.put(ssm, config, "door", file)
    with pytest.raises(DeployError, match="--source"):
        sources.put(ssm, config, "a/b", file)
    points = [[number / 64, number / 64] for number in range(64)]
    file.write_text(json.dumps({"zones": [{"name": f"z{n}", "polygon": points} for n in range(8)]}))
    with pytest.raises(DeployError, match="a parameter holds 4096"):
        sources.put(ssm, config, "door", file)
    ssm.put_parameter(Name=f"{sources.sources_path(config)}/yard", Value="x", Type="String")
    assert any(line.startswith("yard  not usable: ") for line in sources.show(ssm, config))
    sources.remove(ssm, config, "door")
    with pytest.raises(DeployError, match="has no settings"):
        sources.remove(ssm, config, "door")
