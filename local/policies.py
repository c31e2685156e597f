"""A correction where moto's evaluation of bucket policies differs from the service.

moto 5.2 treats a statement whose condition does not hold as a denial, so that a policy that denies requests
without TLS denies everything. Here such a statement is skipped: the embedded AWS speaks plain HTTP on the
loopback interface and counts as reached over TLS.

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

from typing import Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

_stock = IAMPolicyStatement.is_action_permitted


def _is_action_permitted(self: IAMPolicyStatement, *args: Any, **kwargs: Any) -> PermissionResult:
    secure = self._statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    if self._statement["Effect"] == "Deny" and secure in ("false", ["false"], False):
        return PermissionResult.NEUTRAL
    return _stock(self, *args, **kwargs)


def correct() -> None:
    """Applies the correction to moto."""
    IAMPolicyStatement.is_action_permitted = _is_action_permitted  # type: ignore[method-assign]
