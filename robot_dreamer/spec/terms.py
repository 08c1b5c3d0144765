"""Terms of an expression: what each part is (shape, unit, the interval that its numbers lie in), and how it is read.

The interval is what makes a division safe before a robot moves: a divisor whose interval holds 0 is refused when the
spec is loaded, not when it happens. Intervals know nothing of each other: x * x of a free x may be negative for them,
x ** 2 may not.

Numbers are numpy's scalars, so that arithmetic on them notices a division by 0 or an overflow as that on vectors does;
what chooses among numbers does it by Python's own `min`, `max` and `if`, which take a fraction of a ufunc's time.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.units import disagreement

Values = MutableMapping[str, NDArray[Any]]
Shape = tuple[int, ...]


class TermError(ValueError):
    """Terms that do not go together; the message says what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class Term:
    """A number, () or a vector, (n,).

    Attributes:
      read: from the values of an expression's names (and of what it has shared) to this term's, float64 of `shape`.
      low, high: of all its numbers.
      unit: empty: unknown, or of no matter, as behind a product.
      condition: its numbers are 0 and 1.
    """

    shape: Shape
    read: Callable[[Values], NDArray[Any]]
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    condition: bool = False

    @property
    def form(self) -> str:
        return f"vector of {self.shape[0]}" if self.shape else "number"


def constant(value: float) -> Term:
    """A literal."""
    array = np.float64(value)
    return Term((), lambda values: array, value, value)


def shared(term: Term, key: str) -> Term:
    """A term that an expression has several times: computed once a row, and then kept by `key` among the values."""

    def read(values: Values) -> NDArray[Any]:
        if key not in values:
            values[key] = term.read(values)
        return values[key]

    return replace(term, read=read)


def together(what: str, *terms: Term) -> Shape:
    """The shape of an element-wise operation: numbers go with vectors, vectors with such of their length."""
    shapes = {t.shape for t in terms if t.shape}
    if len(shapes) > 1:
        raise TermError(f"{what}: expected vectors of one length, found {' and '.join(t.form for t in terms)}")
    return shapes.pop() if shapes else ()


def same_unit(what: str, *terms: Term) -> str:
    """The unit that some terms share. Raises TermError where two are known and disagree."""
    units = [t.unit for t in terms if t.unit]
    for unit in units[1:]:
        if disagreement(unit, units[0]):
            raise TermError(
                f"{what}: {units[0]} and {unit} do not go together; multiply each by a weight that says its worth"
            )
    return units[0] if units else ""


def need_condition(what: str, term: Term) -> None:
    if not term.condition:
        raise TermError(f"{what} needs a condition such as a < b, found a {term.form}")


def add(a: Term, b: Term) -> Term:
    shape, unit = together("+", a, b), same_unit("+", a, b)
    return Term(shape, lambda v: a.read(v) + b.read(v), a.low + b.low, a.high + b.high, unit)


def subtract(a: Term, b: Term) -> Term:
    shape, unit = together("-", a, b), same_unit("-", a, b)
    return Term(shape, lambda v: a.read(v) - b.read(v), a.low - b.high, a.high - b.low, unit)


def negate(a: Term) -> Term:
    return Term(a.shape, lambda v: -a.read(v), -a.high, -a.low, a.unit)


def multiply(a: Term, b: Term) -> Term:
    low, high = product(a, b)
    return Term(together("*", a, b), lambda v: a.read(v) * b.read(v), low, high)


def product(a: Term, b: Term) -> tuple[float, float]:
    """The interval of a product; 0 times an end that is infinite is 0, because no number is infinite."""
    ends = [0.0 if 0.0 in (x, y) else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(ends), max(ends)


def divide(a: Term, b: Term) -> Term:
    if b.low <= 0.0 <= b.high:
        raise TermError(
            f"/: the divisor can be 0 (it is between {b.low:g} and {b.high:g}, for all that the spec says); guard it, "
            f"as in a / max(b, 0.001)"
        )
    low, high = product(a, Term((), b.read, 1.0 / b.high, 1.0 / b.low))
    return Term(together("/", a, b), lambda v: a.read(v) / b.read(v), low, high)


def power(a: Term, b: Term) -> Term:
    """a ** b with b a number that is written out."""
    n = b.low
    if b.shape or b.low != b.high or not 0.0 < n <= 8.0:
        raise TermError("**: expected a number above 0 and at most 8 as the exponent, written out")
    if n != round(n) and a.low < 0.0:
        raise TermError(f"**: {n:g} is a root, and its base can be {a.low:g}; only what is never below 0 has one")
    ends = [math.copysign(1.0, x) ** round(n) * _power(abs(x), n) for x in (a.low, a.high)]
    low, high = min(ends), max(ends)
    if n % 2 == 0 and a.low < 0.0 < a.high:
        low = 0.0
    return Term(a.shape, lambda v: a.read(v) ** n, low, high)


def _power(x: float, n: float) -> float:
    try:
        return math.pow(x, n)
    except OverflowError:
        return math.inf


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def compare(sign: str, a: Term, b: Term) -> Term:
    shape, rule = together(sign, a, b), _COMPARE[sign]
    same_unit(sign, a, b)

    def number(values: Values) -> Any:
        return np.float64(rule(a.read(values), b.read(values)))

    def vector(values: Values) -> Any:
        return rule(a.read(values), b.read(values)).astype(np.float64)

    return Term(shape, vector if shape else number, 0.0, 1.0, condition=True)


def both(a: Term, b: Term) -> Term:
    """Conditions: 1 where both are."""
    shape = together("and", a, b)
    rule = np.minimum if shape else min
    return Term(shape, lambda v: rule(a.read(v), b.read(v)), 0.0, 1.0, condition=True)


def either(a: Term, b: Term) -> Term:
    """Conditions: 1 where one is."""
    shape = together("or", a, b)
    rule = np.maximum if shape else max
    return Term(shape, lambda v: rule(a.read(v), b.read(v)), 0.0, 1.0, condition=True)


def invert(a: Term) -> Term:
    return Term(a.shape, lambda v: 1.0 - a.read(v), 0.0, 1.0, condition=True)


def choose(condition: Term, a: Term, b: Term) -> Term:
    """a if condition else b. Both are computed, so both must be safe."""
    shape, unit = together("if", condition, a, b), same_unit("if", a, b)

    def read(values: Values) -> NDArray[Any]:
        return np.where(condition.read(values) > 0.5, a.read(values), b.read(values))

    return Term(shape, read, min(a.low, b.low), max(a.high, b.high), unit, a.condition and b.condition)


def pick(a: Term, index: int | slice, unit: str) -> Term:
    """Elements of a vector; `index` is within its length."""
    shape = () if isinstance(index, int) else (len(range(*index.indices(a.shape[0]))),)
    return Term(shape, lambda v: a.read(v)[index], a.low, a.high, unit, a.condition)
