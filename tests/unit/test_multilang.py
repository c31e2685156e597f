"""The list of the daemon's properties, against the daemon itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from kcl_worker import multilang

CONFIGURATION = "software.amazon.kinesis.multilang.config.MultiLangDaemonConfiguration"
# `MultiLangDaemonConfig` reads these by itself.
ITS_OWN = {"executableName", "maxActiveThreads", "processingLanguage"}
FORMS = {"int": "whole", "long": "whole", "Integer": "whole", "Long": "whole", "double": "real"} | dict.fromkeys(
    ("boolean", "Boolean"), "logical"
)


@pytest.fixture(scope="module")
def members() -> str:
    javap, package = shutil.which("javap"), find_spec("amazon_kclpy")
    if javap is None or package is None or package.origin is None:
        pytest.skip("no JDK or no KCL here")
    [jar] = (Path(package.origin).parent / "jars").glob("amazon-kinesis-client-multilang-*.jar")
    command = [javap, "-public", "-cp", str(jar), CONFIGURATION]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bean(name: str) -> str:
    return name[0].lower() + name[1:]


def test_every_property_is_known_with_its_form(members: str) -> None:
    theirs = {
        bean(name): FORMS.get(kind.rpartition(".")[2], "text")
        for name, kind in re.findall(r"public void set(\w+)\(([^,\s]+)\);", members)
    }
    known = {
        **dict.fromkeys(multilang.WHOLE, "whole"),
        **dict.fromkeys(multilang.REAL, "real"),
        **dict.fromkeys(multilang.LOGICAL, "logical"),
        **dict.fromkeys(multilang.TEXT | multilang.OWN, "text"),
    }
    assert {name: form for name, form in known.items() if name not in ITS_OWN} == {
        name: form for name, form in theirs.items() if name not in ITS_OWN
    }


def test_every_part_with_properties_of_its_own_is_known(members: str) -> None:
    assert {bean(name) for name in re.findall(r"config\.\w*Bean get(\w+)\(\);", members)} == multilang.PARTS


def test_the_forms_do_not_overlap() -> None:
    forms = (multilang.WHOLE, multilang.REAL, multilang.LOGICAL, multilang.TEXT, multilang.OWN)
    assert len(frozenset().union(*forms)) == sum(map(len, forms))
