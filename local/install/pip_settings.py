"""pip's settings of indexes and certificates in the words of uv, which reads none of pip's."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path
from typing import Final

# What separates several values: pip takes any white space.
_NAMES: Final = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "no-cache-dir": ("UV_NO_CACHE", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
# As in pip, what comes later wins.
_SECTIONS: Final = ("global", "install", ":env:")


def for_uv(python: str) -> dict[str, str]:
    """Variables that have uv ask whom pip would ask; what the environment says of uv itself wins."""
    command = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {name: value for name, value in translated(listed).items() if name not in os.environ}


def translated(listed: str) -> dict[str, str]:
    """Turns the lines of `pip config list`, such as `global.index-url='https://…'`, into uv's variables."""
    # Hashes say what may be installed, so that it does not matter which index has it.
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for section in _SECTIONS:
        for line in listed.splitlines():
            key, _, quoted = line.partition("=")
            name, separator = _NAMES.get(key.removeprefix(f"{section}."), ("", ""))
            if name and key.startswith(f"{section}."):
                values = str(ast.literal_eval(quoted)).split()
                if name == "UV_FIND_LINKS":
                    # uv refuses a folder that is not there; pip passes it over.
                    values = [value for value in values if "://" in value or Path(value).is_dir()]
                if values:
                    variables[name] = separator.join(values)
    return variables
