"""Quantities, such as 500Mi (k8s.io/apiserver pkg/cel/library quantity.go)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from netemu.api import quantities
from netemu.api.cel import values
from netemu.api.cel.values import Failed, Quantity


def quantity(text: Any) -> Quantity:
    """As resource.Quantity reads it. Failed."""
    values.texts("quantity", text)
    try:
        return Quantity(Fraction(quantities.parse(text)))
    except quantities.Malformed as error:
        raise Failed(f"quantity parse error: {error}") from None


def _compared(test: Callable[[Fraction, Fraction], Any]) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        values.need("quantity", a, Quantity)
        values.need("quantity", b, Quantity)
        return test(a.amount, b.amount)

    return compare


def _counted(sign: int) -> Callable[[Any, Any], Quantity]:
    def count(a: Any, b: Any) -> Quantity:
        values.need("quantity", a, Quantity)
        return Quantity(a.amount + sign * (b.amount if isinstance(b, Quantity) else Fraction(b)))

    return count


def _whole(value: Any) -> int:
    values.need("asInteger", value, Quantity)
    if value.amount.denominator != 1:
        raise Failed("cannot convert value to integer")
    return int(value.amount)


CALLS: dict[str, Callable[..., Any]] = {
    "quantity": quantity,
    "isQuantity": values.tried(quantity),
}
MEMBERS: dict[str, Callable[..., Any]] = {
    "compareTo": _compared(lambda a, b: (a > b) - (a < b)),
    "isGreaterThan": _compared(lambda a, b: a > b),
    "isLessThan": _compared(lambda a, b: a < b),
    "add": _counted(1),
    "sub": _counted(-1),
    "sign": lambda value: (value.amount > 0) - (value.amount < 0),
    "isInteger": lambda value: value.amount.denominator == 1,
    "asInteger": _whole,
    "asApproximateFloat": lambda value: float(value.amount),
}
