"""Installing, with the real uv and pip, from a folder of one wheel: nothing here needs a network."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local.install.__main__ import LAYERS
from local.install.environment import Environment, InstallError
from local.install.pip_settings import translated
from local.install.told import cause
from local.processes import ROOT

REQUIREMENTS = ROOT / "requirements"
UV = Path(sys.executable).parent / "uv"


def locked(name: str) -> dict[str, list[str]]:
    """Each pinned line of a file of requirements, with its hashes."""
    pins: dict[str, list[str]] = {}
    for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            hashes = pins[line.rstrip(" \\")] = []
        elif "--hash=" in line:
            hashes.append(line.strip(" \\"))
    return pins


@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if layer.holds])
def test_a_layer_holds_the_ones_before_it_in_the_same_versions(name: str) -> None:
    for held in LAYERS[name].holds:
        assert locked(held).items() <= locked(name).items()


def test_the_demo_installs_nothing_of_the_other_commands() -> None:
    names = {line.partition("==")[0] for line in locked("demo")}
    others = {"cdktf-cdktf-provider-aws", "playwright", "mypy", "matplotlib", "hypothesis", "pytest", "av"}
    assert not names & others


def third_party(module: str) -> set[str]:
    """What a module of ours imports at once, also through others of ours, that is neither ours nor Python's."""
    found, seen, waiting = set(), set(), [module]
    while waiting:
        name = waiting.pop()
        path = ROOT / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not file.exists():
            continue
        seen.add(name)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            waiting += names
            first = names[0].partition(".")[0]
            if not (ROOT / first).exists() and first not in sys.stdlib_module_names:
                found.add(first)
    return found


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        ("worker", "kcl_worker.__main__"),
        ("demo", "local.demo"),
        ("demo", "stacks.menu"),
        ("camera", "producer.__main__"),
        ("camera", "consumer.__main__"),
        ("camera", "models.quantise"),
        ("infra", "stacks.cli"),
        ("infra", "doctor.__main__"),
        ("quantise", "models.quantise"),
        ("model", "models.export"),
        ("model", "models.train"),
    ],
)
def test_a_command_imports_nothing_but_what_its_layer_installs(layer: str, module: str) -> None:
    distributions = importlib.metadata.packages_distributions()
    installed = {line.partition("==")[0].partition("[")[0] for line in locked(layer)}
    needed = third_party(module)
    assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
    # What the tests' own environment lacks, torch and its like, is called as it is imported.
    missing = {name for name in needed if not {one.lower() for one in distributions.get(name, [name])} & installed}
    assert missing == set()


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_locks_have_hashes_and_no_addresses(path: Path) -> None:
    assert "://" not in path.read_text()
    if "overrides" not in path.stem:
        assert all(locked(path.stem).values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds an environment without packages, a wheel, and the files of requirements `good` and `bad`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    # pip as this environment has it, which is faster than unpacking it again.
    [packages] = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    import pip

    (packages / "pip").symlink_to(Path(pip.__file__).parent)
    (tmp_path / "env" / "bin" / "pip").touch()
    wheel = tmp_path / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        for processor in ("cpu", "gpu", "npu"):
            archive.writestr(f"openvino/libs/libopenvino_intel_{processor}_plugin.so", "")
        archive.writestr("openvino/libs/cache.json", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for name in ("uv", "build"):
        shutil.copy(REQUIREMENTS / f"{name}.txt", requirements)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (requirements / "good.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    (requirements / "bad.txt").write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    (requirements / "none.txt").write_text(f"none==1.0 --hash=sha256:{'0' * 64}\n")
    for name, value in (("FIND_LINKS", str(wheel.parent)), ("NO_INDEX", "1")):
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def environment(folder: Path) -> Environment:
    return Environment(folder / "env", folder / "requirements", (folder / "install.log").open("w"))


def has_tiny(folder: Path) -> bool:
    command = [str(folder / "env" / "bin" / "python"), "-c", "import tiny"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def plugins(folder: Path) -> set[str]:
    return {path.name for path in (folder / "env").glob("lib/python3*/site-packages/openvino/libs/*")}


@pytest.mark.slow
@pytest.mark.skipif(not UV.exists(), reason="uv cannot run on this machine")
def test_uv_installs_what_has_its_hash_and_asks_whom_pip_would_ask(folder: Path) -> None:
    (folder / "env" / "bin" / "uv").symlink_to(UV)
    made = environment(folder)
    with pytest.raises(InstallError, match=r"uv pip install: tiny==1.0: .* another hash"):
        made.install("bad")
    with pytest.raises(InstallError, match=r"uv pip install: none==1.0: there is no version of none"):
        made.install("none")
    assert not has_tiny(folder)
    made.install("good")
    assert has_tiny(folder)
    assert plugins(folder) == {"libopenvino_intel_cpu_plugin.so"}


@pytest.mark.slow
def test_pip_installs_where_uv_cannot_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uv = folder / "env" / "bin" / "uv"
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    made = environment(folder)
    told = capsys.readouterr().out
    assert "uv cannot be used" in told
    assert max(map(len, told.splitlines())) <= 80
    with pytest.raises(InstallError, match=r"pip install: tiny==1.0 ?: .* another hash"):
        made.install("bad")
    made.install("good")
    assert has_tiny(folder)
    assert plugins(folder) == {"libopenvino_intel_cpu_plugin.so"}


@pytest.mark.slow
def test_pip_installs_where_uv_cannot_be_had(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = environment(folder)
    assert "uv cannot be used, pip takes three times as long: pip install: uv==" in " ".join(
        capsys.readouterr().out.split()
    )
    with pytest.raises(InstallError, match=r"pip install: none==1.0: the index has no such version"):
        made.install("none")


@pytest.mark.slow
@pytest.mark.skipif(not UV.exists(), reason="uv cannot run on this machine")
def test_an_index_out_of_reach_is_named_with_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "env" / "bin" / "uv").symlink_to(UV)
    made = environment(folder)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(InstallError, match=r"uv pip install: none: Connection refused"):
        made.install("none")


def test_a_jar_that_cannot_be_fetched_is_named_with_its_package() -> None:
    line = "Failed to retrieve http://host/a/b/1.0/b-1.0.jar: <urlopen error [Errno 111] Connection refused>\n"
    told = "amazon-kclpy: its jar b-1.0.jar: <urlopen error [Errno 111] Connection refused>"
    assert cause(f"error: Failed to build `amazon-kclpy==3.1.3`\n  cause: The build backend\n\n {line}") == told


def test_pips_warnings_of_a_connection_name_the_package() -> None:
    warning = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<object>: Failed to "
        "establish a new connection: [Errno 111] Connection refused')': /simple/six/\n"
    )
    assert cause(warning + "ERROR: No matching distribution found for six") == "six: [Errno 111] Connection refused"


@pytest.mark.parametrize(("output", "told"), [("", "no reason was given"), ("a\nb c\n\n", "b c")])
def test_what_is_not_known_is_told_as_it_came(output: str, told: str) -> None:
    assert cause(output) == told


def test_pips_settings_are_told_to_uv(tmp_path: Path) -> None:
    listed = f"""global.index-url='https://one/simple'
install.index-url='https://two/simple'
global.cert='/etc/ca.pem'
:env:.find-links='{tmp_path} {tmp_path}/none'
download.timeout='3'
global.trusted-host='one'
"""
    assert translated(listed) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://two/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_FIND_LINKS": str(tmp_path),
    }
