"""Makes the provider's package fast to import.

The root of `cdktf_cdktf_provider_aws` imports all of its 1 500 submodules, which takes ten seconds on a good
machine. A stand-in for the root, with the same path, lets every submodule be imported by itself.
The package `stacks` imports this module before any of them.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Final

PACKAGE: Final = "cdktf_cdktf_provider_aws"

# jsii warns at every start about Node versions that it has not been tested with or that are past their end of life.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20,22,24")
for _kind in ("DEPRECATED", "UNTESTED"):
    os.environ.setdefault(f"JSII_SILENCE_WARNING_{_kind}_NODE_VERSION", "1")

if PACKAGE not in sys.modules:
    _spec = find_spec(PACKAGE)
    if _spec is None or _spec.submodule_search_locations is None:
        raise ImportError(f"{PACKAGE} is not installed: make setup")
    _root = ModuleType(PACKAGE)
    _root.__path__ = list(_spec.submodule_search_locations)
    _root.__spec__ = _spec
    sys.modules[PACKAGE] = _root
