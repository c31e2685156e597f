"""The Dockerfile, built on a base made for the purpose, and the image at work.

Needs root, buildah and debootstrap; a container engine is not needed. The image's size, user, health
check and writable places are those that the task definition counts on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT, Aws
from local.resources import Resources
from local.rig import drain
from local.waiting import wait_for

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
MAX_BYTES = 10**9
# The tracker gives an object its id once it has seen it twice.
FRAMES = 4
HEALTH_COMMAND = ["CMD", "python", "-m", "kcl_worker.operating.healthcheck"]


class Buildah:
    """buildah with its images in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._prefix = [
            "buildah", "--storage-driver", "vfs", "--root", str(folder / "store"), "--runroot", str(folder / "run"),
        ]  # fmt: skip

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._prefix, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.strip()

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            return subprocess.Popen(
                [*self._prefix, "run", "--isolation", "chroot", *arguments],
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """A base image of Debian with Python, in place of the one from a registry."""
    missing = [
        tool for tool in ("buildah", "debootstrap") if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    ]
    if missing or os.geteuid() != 0:
        pytest.skip(f"building an image needs root and {', '.join(missing) or 'nothing else'}")
    folder = tmp_path_factory.mktemp("image")
    made = subprocess.run(
        ["/usr/sbin/debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm",
         str(folder / "base/root")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"debootstrap: {made.stdout.strip().splitlines()[-1]}")
    # Whom this machine trusts, so that packages can be fetched from within.
    shutil.copy(CERTIFICATES, folder / "base/root" / CERTIFICATES.relative_to("/"))
    (folder / "base/Containerfile").write_text("FROM scratch\nCOPY root /\n")
    run = Buildah(folder)
    run("bud", "--isolation", "chroot", "-t", "base", "-f", str(folder / "base/Containerfile"), str(folder / "base"))
    shutil.rmtree(folder / "base")
    yield run
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def container(buildah: Buildah, reference: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A container of the image with YOLOv8n; gives its name."""
    context = tmp_path_factory.mktemp("context")
    # What is ignored is not there at all: the build needs nothing else.
    for name in re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        shutil.copytree(ROOT / name, context / name)
    shutil.copytree(ROOT / "requirements", context / "requirements")
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, context)
    (context / "models").mkdir()
    for path in (ROOT / "models").glob("street.onnx*"):
        shutil.copy(path, context / "models")
    model = (reference / "yolov8n.onnx").read_bytes()
    (context / "models/yolov8n.onnx").write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    (context / "models/yolov8n.onnx.sha256").write_text(f"{digest}  yolov8n.onnx\n")
    buildah("bud", "--format", "docker", "--isolation", "chroot", "--build-arg", "BASE=localhost/base", "-t", "worker",
            str(context))  # fmt: skip
    return buildah("from", "localhost/worker")


@pytest.mark.thorough
def test_the_image_holds_what_it_needs_and_a_frame_goes_through_it(
    buildah: Buildah, container: str, aws: Aws, resources: Resources, reference: Path, tmp_path: Path
) -> None:
    # -- what is in it
    config = json.loads(buildah("inspect", container))["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == HEALTH_COMMAND
    assert config["Volumes"] == {"/tmp": {}}
    root = Path(buildah("mount", container))
    size = int(subprocess.check_output(["du", "-s", "--block-size=1", str(root)]).split()[0])
    assert size < MAX_BYTES
    packages = {path.name for path in (root / "opt/venv/lib").glob("python3*/site-packages/*")}
    assert "openvino" in packages
    assert not packages & {"torch", "ultralytics", "pip", "setuptools", "moto"}
    assert sorted(path.name for path in (root / "app").iterdir()) == ["cloud", "contract", "kcl_worker", "models"]

    # -- it works: healthy, its JVM starts from the cache, and a tracked frame goes through
    log, before = tmp_path / "container.log", files(root)
    env = {name: value for name, value in resources.environment().items() if name not in os.environ}
    env |= {"HEALTH_PORT": "0", "HEALTH_HOST": "127.0.0.1", "YOLO_MODEL_SIZE": "yolov8n", "EVENT_BUS_NAME": "default"}
    env |= {"SOURCE_DEFAULTS": '{"tracking": true}'}
    options = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
    process = buildah.start(*options, container, "--", *config["Entrypoint"], log=log)
    try:
        port = healthy_port(log, process)
        buildah("run", "--isolation", "chroot", "--env", f"HEALTH_PORT={port}", container, "--", *HEALTH_COMMAND[1:])
        [daemon] = processes(resources.stream, b"software.amazon.kinesis.multilang.MultiLangDaemon")
        assert "/jars/daemon.aot" in Path(f"/proc/{daemon}/maps").read_text()
        photograph = (reference / "zidane.jpg").read_bytes()
        for _ in range(FRAMES):
            resources.client("kinesis").put_record(StreamName=resources.stream, Data=photograph, PartitionKey="door")
        message = receive(resources, FRAMES)[-1]
        assert message["model"] == "yolov8n"
        assert all(detection["track_id"] for detection in message["summary"])
        assert resources.client("s3").get_object(Bucket=message["bucket"], Key=message["key"])["ContentLength"] > 0
    finally:
        # buildah passes no signals on.
        for pid in processes(resources.stream, b"kcl_worker"):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: process.poll() is not None, "end of the container", lambda: log.stat().st_size)
        status = process.returncode
    assert (status, '"drained"' in log.read_text()) == (0, True)
    # It would have worked as well with a read-only root file system.
    assert files(root) == before


def files(root: Path) -> set[Path]:
    """All files outside of /tmp, with what could show that they were written."""
    return {path for path in root.rglob("*") if not path.is_relative_to(root / "tmp")}


def processes(application: str, word: bytes) -> list[int]:
    """Processes in a container: by a word of their command and by their environment, for their root is hidden."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if word in command and f"KCL_APPLICATION_NAME={application}".encode() in environment:
            found.append(int(process.name))
    return found


def healthy_port(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port at which /health answers 200, as soon as it does."""

    def port() -> int | None:
        assert process.poll() is None, log.read_text()[-3000:]
        ports = re.findall(r'"health_port": ?(\d+)', log.read_text())
        with suppress(OSError):
            if ports and urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/health", timeout=2).status == 200:
                return int(ports[0])
        return None

    return int(wait_for(port, f"health, see {log}", lambda: log.stat().st_size))


def receive(resources: Resources, number: int) -> list[dict[str, Any]]:
    """So many results, in the order in which they were sent."""
    bodies: list[str] = []

    def received() -> bool:
        bodies.extend(drain(resources, resources.queue_url))
        return len(bodies) >= number

    wait_for(received, f"{number} results", lambda: len(bodies))
    return [json.loads(body) for body in bodies]
