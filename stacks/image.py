"""The worker's image: its tag, its build and its push to the registry."""

from __future__ import annotations

import base64
import hashlib
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
PLATFORMS: Final = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}


def tag(config: Config, root: Path = ROOT) -> str:
    """The configured tag, or one made from the image's content: the same content has the same tag.

    The tag depends on the model's name, not on its weights: with your own weights, set `service.image_tag`.
    """
    if config.service.image_tag:
        return config.service.image_tag
    digest = hashlib.sha256(config.service.architecture.encode())
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return f"{model(config)}-{digest.hexdigest()[:12]}"


def model(config: Config) -> str:
    """The name of the model files in `models/` that go into the image."""
    quantised = "-int8" if config.service.precision == "int8" else ""
    return f"{config.service.model_name}{quantised}"


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in ("Dockerfile", ".dockerignore", "requirements/worker.txt"))
    for folder in ("kcl_worker", "cloud", "contract"):
        yield from (path for path in (root / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")


def build_command(engine: str, name: str, model_name: str, platform: str = "", base: str = "") -> list[str]:
    """The command that builds the image, to be followed by the folder that holds the Dockerfile."""
    command = [engine, "bud" if engine == "buildah" else "build"]
    if engine != "docker":
        command += ["--format", "docker"]  # the OCI format has no health check
    if platform:
        command += ["--platform", platform]
    if base:
        command += ["--build-arg", f"BASE={base}"]
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
    """Builds the image; brings the model into models/ first.

    Raises:
        DeployError: If either fails.
    """
    exported, chosen = bring_model(config), model(config)
    if config.service.precision == "int8" and not (ROOT / "models" / f"{chosen}.xml").exists():
        raise DeployError(
            f"models/{chosen}.xml is not there: `make quantise MODEL=models/{exported.name} FRAMES=…` makes it of your "
            "own frames and says how far it agrees with fp32"
        )
    command = build_command(engine(), name, chosen, PLATFORMS[config.service.architecture], base)
    _run([*command, str(ROOT)], "building the image")


def bring_model(config: Config) -> Path:
    """The model's file in models/: a copy of the configured one, or an export of what ultralytics knows by its name.

    Raises:
        DeployError: If there is no such file, or no such model.
    """
    name = config.service.model_name
    exported = ROOT / "models" / f"{name}.onnx"
    if config.service.model.endswith(".onnx"):
        file = ROOT / config.service.model
        if not file.is_file():
            raise DeployError(
                f"service.model {file}: no such file; `make model NAME={name} WEIGHTS=file.pt` exports one"
            )
        if file.resolve() != exported.resolve():
            # Its hash too; that of an earlier file of this name would refuse it.
            for suffix in ("", ".sha256"):
                Path(f"{exported}{suffix}").unlink(missing_ok=True)
                if Path(f"{file}{suffix}").is_file():
                    shutil.copy(f"{file}{suffix}", f"{exported}{suffix}")
    elif not exported.exists():
        print(f"{exported.name} is not there: exporting it (the first time, this fetches 3 GB: torch with CUDA)")
        _run(["make", "-C", str(ROOT), "model", f"NAME={name}"], "exporting the model")
    return exported


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
