"""The worker's own variables that an environment's file may give: those that nothing else in the stack decides."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict, create_model

from kcl_worker.settings import Settings

NAMES: Final = (
    "log_level",
    "lag_policy",
    "max_frame_age_seconds",
    "max_frame_bytes",
    "max_frame_pixels",
    "jpeg_quality",
    "checkpoint_seconds",
    "stuck_shard_seconds",
    "kcl_failover_seconds",
    "kcl_max_records",
    "kcl_max_leases",
    "kcl_properties",
)


# With the worker's own limits, defaults and descriptions.
_FIELDS: Final[dict[str, Any]] = {
    name: (Settings.model_fields[name].annotation, Settings.model_fields[name]) for name in NAMES
}
_Fields: Any = create_model("_Fields", __config__=ConfigDict(extra="forbid", frozen=True), **_FIELDS)


class WorkerVariables(_Fields):  # type: ignore[misc]
    """More of a worker's variables, in small letters."""

    def environment(self) -> dict[str, str]:
        """The variables that are given, as a container has them."""
        given = {name: getattr(self, name) for name in NAMES if name in self.model_fields_set}
        return {name.upper(): f"{value:g}" if isinstance(value, float) else str(value) for name, value in given.items()}
