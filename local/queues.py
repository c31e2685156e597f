"""Where moto's SQS departs from the service, and the corrections.

| moto 5.2                                       | SQS                                |
| ---------------------------------------------- | ---------------------------------- |
| setting any attribute removes the queue's policy| a policy stays until it is replaced|
| a redrive policy comes back with other spaces  | it comes back as it was set        |

`correct()` puts them into moto, once per process.
"""

from __future__ import annotations

import json
from typing import Any

from moto.sqs.models import Queue

_stock_set = Queue._set_attributes
_stock_attributes = Queue.attributes


def _set_attributes(self: Queue, attributes: dict[str, Any], now: float | None = None) -> None:
    before = getattr(self, "policy", None)
    _stock_set(self, attributes, now)
    if "Policy" not in attributes:
        self.policy = before


def _attributes(self: Queue) -> dict[str, Any]:
    found: dict[str, Any] = _stock_attributes.fget(self)  # type: ignore[attr-defined]
    if redrive := found.get("RedrivePolicy"):
        found["RedrivePolicy"] = json.dumps(json.loads(redrive), separators=(",", ":"))
    return found


def correct() -> None:
    """Puts the corrections into moto."""
    Queue._set_attributes = _set_attributes  # type: ignore[method-assign]
    Queue.attributes = property(_attributes)  # type: ignore[method-assign,assignment]
