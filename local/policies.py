"""Corrections where moto's evaluation of policies differs from the service.

- moto 5.2 treats a statement whose condition does not hold as a denial, so that a policy that denies requests without
  TLS denies everything. Here such a statement is skipped. The embedded AWS speaks plain HTTP on the loopback interface
  and counts as reached over TLS.
- moto knows no context of a request. Here conditions are about the keys that `request` gives; a key that a request has
  not is as the documents say: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
- No service takes a role in moto. A user that is called like one, as `ecs-tasks.amazonaws.com`, takes the roles that
  trust that service.

`correct()` applies it to moto, once per process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any, Final

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

# Keys of a request; some have several values.
Context = Mapping[str, str | Sequence[str]]

_context: ContextVar[Context] = ContextVar("context")
_roles: ContextVar[Sequence[str]] = ContextVar("roles")
_AT_REST: Final[Context] = {"aws:SecureTransport": "true"}

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
_ANY_VALUE: Final = "ForAnyValue:"
_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": str.__eq__,
    "StringLike": fnmatchcase,
    "ArnEquals": fnmatchcase,
    "ArnLike": fnmatchcase,
    "Bool": lambda given, wanted: given.lower() == wanted.lower(),
}


@contextmanager
def request(context: Context, roles: Sequence[str]) -> Iterator[None]:
    """Sets the context of the request that is checked, and the roles that it passes on."""
    tokens = _context.set(context), _roles.set(roles)
    try:
        yield
    finally:
        _context.reset(tokens[0])
        _roles.reset(tokens[1])


def passed_roles() -> Sequence[str]:
    """The roles that the request passes on."""
    return _roles.get(())


def holds(conditions: dict[str, dict[str, Any]], context: Context) -> bool:
    """Whether all of a statement's conditions hold.

    Raises:
        ValueError: If there is an operator that is not known here.
    """
    return all(
        _holds(operator, context.get(key), [values] if isinstance(values, str | bool) else values)
        for operator, keys in conditions.items()
        for key, values in keys.items()
    )


def _holds(operator: str, given: str | Sequence[str] | None, values: Sequence[object]) -> bool:
    if operator == "Null":
        return (given is None) is (str(values[0]).lower() == "true")
    if operator.startswith(_ANY_VALUE):  # which does not hold for a key that is missing
        each = [given] if isinstance(given, str) else given or ()
        return any(_holds(operator.removeprefix(_ANY_VALUE), value, values) for value in each)
    positive = operator.replace("Not", "", 1)
    if positive not in _TESTS or not isinstance(given, str | None):
        raise ValueError(f"{operator}: a condition that the embedded AWS does not know")
    matches = given is not None and any(_TESTS[positive](given, str(value)) for value in values)
    # A negated operator holds for a key that is missing.
    return matches is (positive == operator)


_stock = IAMPolicyStatement.is_action_permitted


def _is_action_permitted(self: IAMPolicyStatement, action: str, resource: str = "*", *others: Any) -> PermissionResult:
    conditions, principal = self._statement.get("Condition"), others[0] if others else None
    if principal is not None and "Principal" in self._statement:  # a role's trust
        trusted = self._statement["Principal"]
        if str(principal).endswith(f":user/{trusted.get('Service')}"):
            return PermissionResult.PERMITTED
        return _stock(self, action, resource, *others) if "AWS" in trusted else PermissionResult.NEUTRAL
    if conditions and not holds(conditions, _context.get(_AT_REST)):
        return PermissionResult.NEUTRAL
    without = IAMPolicyStatement({key: value for key, value in self._statement.items() if key != "Condition"})
    return _stock(without, action, resource, *others)


def correct() -> None:
    """Applies the corrections to moto."""
    statement: Any = IAMPolicyStatement
    statement.is_action_permitted = _is_action_permitted
