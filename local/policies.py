"""Where moto's evaluation of bucket policies departs from the service, and the correction.

moto 5.2 takes a statement whose condition does not hold for a denial, so that a policy which denies what
does not come over TLS denies everything. Here such a statement is passed over: the embedded AWS speaks
plain HTTP on the loopback interface and counts as reached over TLS.

`correct()` puts it into moto, once per process.
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
    """Puts the correction into moto."""
    IAMPolicyStatement.is_action_permitted = _is_action_permitted  # type: ignore[method-assign]
