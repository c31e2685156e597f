"""URLs of cameras: what is told of them holds no credentials, wherever they stand."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.frame import check_source
from local.processes import ROOT
from local.resources import Resources
from producer.address import name_of, shown
from producer.errors import SourceError
from producer.lane import describe
from producer.sources import open_source, source_name

SECRET = "hunter2"
URLS = [
    f"rtsp://admin:{SECRET}@127.0.0.1:9/live",
    f"rtsp://admin:p@{SECRET}:%40{SECRET}@127.0.0.1:9/live",
    f"rtsp://admin:{SECRET}/{SECRET}@127.0.0.1:9/live",
    f"rtsp://admin:12/{SECRET}@127.0.0.1:9/live",
    f"rtsp://admin:12?{SECRET}@127.0.0.1:9/live",
    f"rtsp://admin:{SECRET}#{SECRET}@127.0.0.1:9/live",
    f"rtsp://{SECRET}@127.0.0.1:9/live",
    f"http://127.0.0.1:9/{SECRET}/video.mjpg",
    f"http://127.0.0.1:9/cgi?user=a@b.org&password={SECRET}",
    f"http://127.0.0.1:9?password={SECRET}",
    f"RTSP://admin:{SECRET}@127.0.0.1:9/live",
    f"rtsp://127.0.0.1:9/user=admin_password={SECRET}_channel=1",
    f"rtsp://[::1]:9/{SECRET}",
    f"ftp://admin:{SECRET}@127.0.0.1/film.mp4",
    f"rtsp:/admin:{SECRET}@127.0.0.1/live",
    f"admin:{SECRET}@127.0.0.1/live",
    f"rtsp:/admin:{SECRET}@127.0.0.1/live?channel=1",
    f"admin:{SECRET}@127.0.0.1/live?ch=1",
    f"rtsp//admin:{SECRET}@127.0.0.1/live",
]


@pytest.mark.parametrize("url", URLS)
def test_no_error_and_no_name_holds_a_secret(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in source_name(url)
    check_source(source_name(url))


def test_the_command_says_no_secret(resources: Resources) -> None:
    url = f"http://admin:{SECRET}@127.0.0.1:9/cgi?token={SECRET}"
    command = [sys.executable, "-m", "producer", "send", url]
    done = subprocess.run(command, env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert SECRET not in done.stderr + done.stdout
    assert done.stderr.startswith(f"error: {source_name(url)}: http://127.0.0.1:9/…: cannot be opened as a video: ")


secrets = st.text(min_size=1, max_size=12).map(lambda text: f"{SECRET}{text}{SECRET}")


@given(secrets, st.sampled_from(("{}@", "admin:{}@", "admin:12/{}@")), st.sampled_from(("", "/{}", "/a?p={}", "#{}")))
def test_whatever_the_secret_it_is_not_shown(secret: str, before: str, behind: str) -> None:
    for written in (secret, quote(secret), quote(secret, safe="")):
        url = f"rtsp://{before.format(written)}cam.local:554{behind.format(written)}"
        assert SECRET not in shown(url)
        assert shown(url) in ("rtsp://cam.local:554/…", "rtsp://…")


def test_a_camera_is_named_by_its_host_and_a_hash() -> None:
    name = source_name("rtsp://user:secret@cam.local:554/live?channel=1")
    assert name.startswith("cam.local-")
    assert len(name) == len("cam.local-") + 8
    # Of another channel it is another, of another password it is not.
    assert source_name("rtsp://user:secret@cam.local:554/live?channel=2") != name
    assert source_name("rtsp://user:s%40@cam.local:554/live?channel=1") == name
    assert source_name("rtsp://cam.local:554/live?channel=1") == name
    assert name_of("rtsp://[fe80::1]:554/live").startswith("fe80-1-")
    assert name_of("http://cam.local/?user=a@b.org").startswith("camera-")
    assert len(source_name(f"http://{'a' * 300}/")) <= 128


def test_paths_are_shown_as_they_are() -> None:
    for path in ("films/a:b.mp4", "photos [2024]/*.jpg", "me@home/1.jpg", "x"):
        assert shown(path) == path


def test_a_fault_while_reading_is_told_without_the_address() -> None:
    error = av.error.ConnectionResetError(104, "Connection reset by peer", f"http://a:{SECRET}@cam/{SECRET}")
    assert SECRET in str(error)
    assert SECRET not in describe(error)
    assert "Connection reset" in describe(error)
    assert describe(ValueError("x")) == "ValueError: x"
