"""The part of CloudWatch's metric math that the alarms use.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

# Of each metric a value for each period, None where it has none.
Series = Mapping[str, Sequence[float | None]]

_BINARY: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(expression: str, series: Series) -> list[float | None]:
    """An expression's value in each period; None where a metric in it has no value.

    Raises:
        ValueError: If the expression uses anything else.
    """
    return _values(_parse(expression), series, len(next(iter(series.values()))))


@cache
def _parse(expression: str) -> ast.AST:
    text = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", expression))
    return ast.parse(text, mode="eval").body


def _values(node: ast.AST, series: Series, periods: int) -> list[float | None]:
    def of(part: ast.AST) -> list[float | None]:
        return _values(part, series, periods)

    match node:
        case ast.Constant(value=float() | int() as number):
            return [float(number)] * periods
        case ast.Name(id=name):
            return list(series[name])
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            return [other if value is None else value for value, other in zip(of(metric), of(filling), strict=True)]
        case ast.Call(func=ast.Name(id="SUM"), args=[metric]):
            return [sum(value for value in of(metric) if value is not None)] * periods
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _each(lambda c, t, o: t if c else o, [of(condition), of(then), of(otherwise)])
        case ast.BoolOp(op=ast.And(), values=parts):
            return _each(lambda *terms: float(all(terms)), [of(part) for part in parts])
        case ast.BoolOp(op=ast.Or(), values=parts):
            return _each(lambda *terms: float(any(terms)), [of(part) for part in parts])
        case ast.BinOp(left=left, op=kind, right=right) | ast.Compare(left=left, ops=[kind], comparators=[right]):
            return _each(_BINARY[type(kind)], [of(left), of(right)])
    raise ValueError(f"not known: {ast.unparse(node)}")


def _each(function: Callable[..., float], arguments: list[list[float | None]]) -> list[float | None]:
    """A function's value in each period; None where an argument is missing or the divisor is zero."""

    def value(*values: float | None) -> float | None:
        try:
            return None if None in values else float(function(*values))
        except ZeroDivisionError:
            return None

    return [value(*values) for values in zip(*arguments, strict=True)]
