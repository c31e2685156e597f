"""The worker's image: its tag, its build and its push to the registry."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stacks.config import Config
from stacks.errors import DeployError

ROOT: Final = Path(__file__).parent.parent
# Programs that can build and push, in order of preference; their commands are alike.
ENGINES: Final = ("docker", "podman", "buildah")
# Names of weights that ultralytics downloads: yolov8n, yolov10b, yolo11x, yolov5n6u.
DOWNLOADED: Final = re.compile(r"yolov?\d+[a-z]\d?u?")
PLATFORMS: Final = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}


def tag(config: Config, root: Path | None = None) -> str:
    """The configured tag, or one made from the image's content: the same content has the same tag.

    Of ultralytics' own weights the name is enough, so that a plan needs no export; of others the files count.
    """
    if config.service.image_tag:
        return config.service.image_tag
    root = root or ROOT
    digest = hashlib.sha256(config.service.architecture.encode())
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    if not _is_ultralytics_own(config):
        for path in weights(config, root):
            digest.update(f"{path.name}\0".encode() + (path.read_bytes() if path.is_file() else b""))
    for path in alternatives(config, root):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return f"{model(config)}-{digest.hexdigest()[:12]}"


def model(config: Config) -> str:
    """The name of the model files in `models/` that go into the image."""
    quantised = "-int8" if config.service.precision == "int8" else ""
    return f"{config.service.model_name}{quantised}"


def weights(config: Config, root: Path) -> list[Path]:
    """The files of the model: in models/, or where `service.model` says."""
    suffixes = (".xml", ".bin") if config.service.precision == "int8" else (".onnx",)
    return [_folder(config, root) / f"{model(config)}{suffix}" for suffix in suffixes]


def alternatives(config: Config, root: Path) -> list[Path]:
    """What `auto` chooses from beside the export, as far as `make quantise` has made it."""
    if config.service.precision != "auto":
        return []
    return [path for path in _possible_alternatives(config, root) if path.is_file()]


def _possible_alternatives(config: Config, root: Path) -> list[Path]:
    folder, name = _folder(config, root), config.service.model_name
    return [folder / f"{name}{rest}" for rest in (".agreement.json", "-int8.xml", "-int8.bin")]


def _folder(config: Config, root: Path) -> Path:
    return (root / config.service.model).parent if config.service.model.endswith(".onnx") else root / "models"


def missing_model(config: Config) -> str:
    """One line that says which file of the model is not there and how to make it; empty if the image can be built."""
    absent = next((path for path in weights(config, ROOT) if not path.is_file()), None)
    if absent is None or _is_ultralytics_own(config):
        return ""
    name, there = config.service.model_name, f"{os.path.relpath(absent, ROOT)} is not there"
    if config.service.precision == "int8":
        exported = os.path.relpath(absent.with_name(f"{name}.onnx"), ROOT)
        return (
            f"{there}: `make quantise MODEL={exported} FRAMES=…` makes it of your own frames and says how far it "
            "agrees with fp32"
        )
    return f"{there}: `make model NAME={name} WEIGHTS=file.pt` exports your weights"


def _is_ultralytics_own(config: Config) -> bool:
    service = config.service
    return service.precision != "int8" and bool(DOWNLOADED.fullmatch(service.model or service.model_name))


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in ("Dockerfile", ".dockerignore", "requirements/worker.txt"))
    for folder in ("kcl_worker", "cloud", "contract"):
        yield from (path for path in (root / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")


def build_command(
    engine: str, name: str, model_name: str, platform: str = "", base: str = "", quantised: str = ""
) -> list[str]:
    """The command that builds the image, to be followed by the folder that holds the Dockerfile.

    Args:
        quantised: The name of the model that `auto` may take instead.
    """
    command = [engine, "bud" if engine == "buildah" else "build"]
    if engine != "docker":
        command += ["--format", "docker"]  # the OCI format has no health check
    if platform:
        command += ["--platform", platform]
    if base:
        command += ["--build-arg", f"BASE={base}"]
    if quantised:
        command += ["--build-arg", f"QUANTISED={quantised}"]
    return [*command, "--build-arg", f"MODEL={model_name}", "--tag", name]


def engine() -> str:
    """Finds a program that can build; a client without its daemon cannot.

    Raises:
        DeployError: If there is none.
    """
    found = next((name for name in ENGINES if shutil.which(name) and _works(name)), None)
    if not found:
        raise DeployError(f"the image needs one of {', '.join(ENGINES)}: install one, or start it")
    return found


def _works(name: str) -> bool:
    try:
        return subprocess.run([name, "info"], capture_output=True, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def build(config: Config, name: str, base: str = "") -> None:
    """Builds the image, once there is what builds it, and the model in models/.

    Raises:
        DeployError: If either fails.
    """
    platform = PLATFORMS[config.service.architecture]
    quantised = next((path.stem for path in alternatives(config, ROOT) if path.suffix == ".xml"), "")
    command = build_command(engine(), name, model(config), platform, base, quantised)
    bring_model(config)
    _run([*command, str(ROOT)], "building the image")


def bring_model(config: Config) -> None:
    """Brings the model's files into models/: copies of the configured ones, or an export of ultralytics' own weights.

    Raises:
        DeployError: If there are no such files.
    """
    if missing := missing_model(config):
        raise DeployError(missing)
    files, models = weights(config, ROOT), ROOT / "models"
    if not files[0].is_file():
        name = config.service.model_name
        print(f"{name}.onnx is not there: exporting it (the first time, this fetches 3 GB: torch with CUDA)")
        _run(["make", "-C", str(ROOT), "model", f"NAME={name}"], "exporting the model")
    elif files[0].parent.resolve() != models.resolve():
        if config.service.precision == "auto":
            files = [*files, *_possible_alternatives(config, ROOT)]
        # The hashes too; those of earlier files of this name would refuse them.
        for file in [*files, *(path.with_name(f"{path.name}.sha256") for path in files)]:
            (models / file.name).unlink(missing_ok=True)
            if file.is_file():
                shutil.copy(file, models)


def push(ecr: Any, name: str) -> None:
    """Sends an image to the registry that its name begins with.

    Raises:
        DeployError: If the push fails.
    """
    [authorization] = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(authorization["authorizationToken"]).decode().partition(":")
    registry, tool = name.partition("/")[0], engine()
    _run([tool, "login", "--username", user, "--password-stdin", registry], "logging in to the registry", password)
    _run([tool, "push", name], "pushing the image")


def is_pushed(ecr: Any, repository: str, image_tag: str) -> bool:
    """Whether the registry holds an image under this tag; its tags never move."""
    try:
        return bool(ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": image_tag}])["imageDetails"])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return False


def _run(command: list[str], what: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, text=True, check=False)
    if done.returncode:
        raise DeployError(f"{what} failed: {command[0]} ended with status {done.returncode}")
