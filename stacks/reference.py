"""Writes the tables of docs/configuration.md from the code: `make reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contract.event_rules import Appear, Count, Cross, Dwell, Leave, Silent
from contract.shapes import Line, Zone
from contract.source_settings import Detect, Privacy, SourceSettings
from kcl_worker.settings import Settings
from stacks.config import Config
from stacks.event_routes import EventRoute, EventsConfig

RULES: Final[tuple[type[BaseModel], ...]] = (Appear, Leave, Dwell, Cross, Count, Silent)
PAGE: Final = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN: Final = "<!-- reference: written by `make reference`, checked by a test -->\n"
END: Final = "<!-- /reference -->\n"

ENVIRONMENT: Final = """
## An environment

A key that is left out has its default. `make plan ENVIRONMENT=NAME` shows what a change would do.
"""
SOURCE: Final = """
## A source

```console
$ cat door.json
{"confidence_threshold": 0.4, "classes": ["person"], "tracking": true,
 "zones": [{"name": "step", "polygon": [[0.1, 0.5], [0.4, 0.5], [0.4, 1], [0.1, 1]]}],
 "lines": [{"name": "gate", "start": [0, 0.6], "end": [1, 0.6]}],
 "events": [{"name": "visitor", "kind": "appear", "zone": "step"}], "store": "events"}
$ make configure ENVIRONMENT=prod SOURCE=door SETTINGS=door.json
$ make sources ENVIRONMENT=prod
```

Places are fractions of the picture, x from the left and y from the top. Without `make`, put the JSON
([schema](../contract/source-settings.schema.json)) into the parameter `SOURCES_PATH/SOURCE`. A value that cannot be
used is logged, and the last good one stays as long as the worker runs; of a source that hides something, also after
that. The messages show their results:
[messages](messages.md#tracks-zones-and-lines).
"""
EVENTS: Final = """
### Events

```json
{"zones": [{"name": "step", "polygon": [[0.1, 0.5], [0.4, 0.5], [0.4, 1], [0.1, 1]]}],
 "events": [{"name": "visitor", "kind": "appear", "classes": ["person"], "zone": "step"},
            {"name": "offline", "kind": "silent", "seconds": 60}],
 "store": "events", "announce": "events"}
```

Each rule has a `name` and a `kind`; a `zone` or `line` is one of the source's. What comes of them:
[messages](messages.md#events).
"""
SOURCES: Final = """
The [settings of a source](#a-source), for all sources that say nothing else: `store = "events"`, `[[sources.zones]]`, …
"""
RULE: Final = """
A rule, `[events.rules.NAME]`, has one target and as many filters as it needs:
"""
WORKER: Final = """
## A worker

A stack sets some of these variables, from its `[service]` and `[worker]` and from the names of its resources; the rest
keep their defaults. The AWS SDK's own variables (`AWS_ENDPOINT_URL`, `AWS_PROFILE`, …) work as usual.
"""


def page(text: str) -> str:
    """Gives the page with its tables written from the code."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    sections = [name for name, field in Config.model_fields.items() if _section(field)]
    parts = [
        ENVIRONMENT,
        table("key", {name: f for name, f in Config.model_fields.items() if not _section(f)}),
        *(f"\n### `[{name}]`\n{_section_text(name)}" for name in sections),
        SOURCE,
        table("setting", SourceSettings.model_fields),
        f"\nDetection:\n{table('setting', Detect.model_fields)}",
        f"\nA zone:\n{table('setting', Zone.model_fields)}",
        f"\nA line:\n{table('setting', Line.model_fields)}",
        f"\nPrivacy:\n{table('setting', Privacy.model_fields)}",
        EVENTS,
        _rules(),
        WORKER,
        table("variable", {name.upper(): field for name, field in Settings.model_fields.items()}),
    ]
    return before + BEGIN + "".join(parts) + "\n" + END + after


def _section_text(name: str) -> str:
    field = Config.model_fields[name]
    if field.annotation is SourceSettings:
        return SOURCES
    text = table("key", _fields(field))
    return text + RULE + table("key", EventRoute.model_fields) if field.annotation is EventsConfig else text


def _rules() -> str:
    """What the kinds of events are, and their settings, each once for all kinds that have it alike."""
    kinds: dict[tuple[str, str, str | None], list[str]] = {}
    for rule in RULES:
        for name, field in rule.model_fields.items():
            if name not in ("kind", "name"):
                kinds.setdefault((name, _default(field), field.description), []).append(f"`{rule.__name__.lower()}`")
    lines = ["", "| kind | |", "| --- | --- |", *(f"| `{rule.__name__.lower()}` | {rule.__doc__} |" for rule in RULES)]
    lines += ["", "| setting | of | default | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{name}` | {', '.join(of) if len(of) < len(RULES) else 'all'} | {default} | {description} |"
        for (name, default, description), of in kinds.items()
    ]
    return "\n".join(lines) + "\n"


def table(kind: str, fields: dict[str, FieldInfo]) -> str:
    """A Markdown table with a row for each field."""
    rows = [f"| {kind} | default | |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {_default(field)} | {field.description} |" for name, field in fields.items()]
    return "\n" + "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "none" if field.default_factory is dict else "generated"
    if field.is_required():
        return "required"
    if field.default in ("", None, ()):
        return "none"
    value = str(field.default)
    return f"`{value.lower() if isinstance(field.default, bool) else value}`"


def _section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _fields(field: FieldInfo) -> dict[str, FieldInfo]:
    section = field.annotation
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    return section.model_fields


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
