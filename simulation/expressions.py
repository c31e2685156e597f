"""The part of CloudWatch's metric math that the alarms use.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Values = Mapping[str, float | None]

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


def evaluate(expression: str, values: Values) -> float | None:
    """An expression's value in one period; None if a metric in it has no value.

    Raises:
        ValueError: If the expression uses anything else.
    """
    text = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", expression))
    return _value(ast.parse(text, mode="eval").body, values)


def _value(node: ast.AST, values: Values) -> float | None:
    match node:
        case ast.Constant(value=float() | int() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            value = _value(metric, values)
            return _value(filling, values) if value is None else value
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _with(lambda c, t, o: t if c else o, [condition, then, otherwise], values)
        case ast.BoolOp(op=ast.And(), values=parts):
            return _with(lambda *terms: float(all(terms)), parts, values)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return _with(lambda *terms: float(any(terms)), parts, values)
        case ast.BinOp(left=left, op=kind, right=right) | ast.Compare(left=left, ops=[kind], comparators=[right]):
            return _with(_BINARY[type(kind)], [left, right], values)
    raise ValueError(f"not known: {ast.unparse(node)}")


def _with(function: Callable[..., float], nodes: list[Any], values: Values) -> float | None:
    """A function's value; None if an argument is missing or the divisor is zero."""
    arguments = [_value(node, values) for node in nodes]
    if any(argument is None for argument in arguments):
        return None
    try:
        return float(function(*arguments))
    except ZeroDivisionError:
        return None
