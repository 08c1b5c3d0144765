"""The functions of an expression (docs/rewards.md): what each takes, and where its numbers lie."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.terms import Term, TermError, Values, need_condition, product, same_unit, together
from robot_dreamer.spec.units import disagreement

_EXP_MOST = 80.0  # exp of it is 5.5e34: float32, which rows hold, goes to 3.4e38


def _angle(name: str, a: Term) -> None:
    problem = disagreement(a.unit, "rad") if a.unit else ""
    if problem:
        raise TermError(f"{name}: {problem}")


def _bounded(name: str, a: Term, low: float, high: float) -> None:
    if a.low < low or a.high > high:
        raise TermError(
            f"{name}: its argument must be between {low:g} and {high:g}, and is between {a.low:g} and {a.high:g} for "
            f"all that the spec says; use clip, max or min"
        )


def _sine(a: Term) -> Term:
    _angle("sin", a)
    return Term(a.shape, lambda v: np.sin(a.read(v)), -1.0, 1.0)


def _cosine(a: Term) -> Term:
    _angle("cos", a)
    return Term(a.shape, lambda v: np.cos(a.read(v)), -1.0, 1.0)


def _tangent(a: Term) -> Term:
    _angle("tan", a)
    return Term(a.shape, lambda v: np.tan(a.read(v)))


def _arc(name: str, rule: Callable[[NDArray[np.float64]], NDArray[np.float64]], low: float, a: Term) -> Term:
    _bounded(name, a, -1.0, 1.0)
    return Term(a.shape, lambda v: rule(a.read(v)), low, low + math.pi, "rad")


def _atan2(y: Term, x: Term) -> Term:
    shape = together("atan2", y, x)
    return Term(shape, lambda v: np.arctan2(y.read(v), x.read(v)), -math.pi, math.pi, "rad")


def _wrap(a: Term) -> Term:
    _angle("wrap", a)

    def read(values: Values) -> NDArray[np.float64]:
        return (a.read(values) + math.pi) % (2.0 * math.pi) - math.pi

    return Term(a.shape, read, -math.pi, math.pi, "rad")


def _exp(a: Term) -> Term:
    _bounded("exp", a, -math.inf, _EXP_MOST)
    return Term(a.shape, lambda v: np.exp(a.read(v)), math.exp(a.low), math.exp(a.high))


def _log(a: Term) -> Term:
    if a.low <= 0.0:
        raise TermError(f"log: its argument can be {a.low:g}; only numbers above 0 have one; use max")
    return Term(a.shape, lambda v: np.log(a.read(v)), math.log(a.low), math.log(a.high))


def _sqrt(a: Term) -> Term:
    _bounded("sqrt", a, 0.0, math.inf)
    return Term(a.shape, lambda v: np.sqrt(a.read(v)), math.sqrt(a.low), math.sqrt(a.high))


def _tanh(a: Term) -> Term:
    return Term(a.shape, lambda v: np.tanh(a.read(v)), math.tanh(a.low), math.tanh(a.high))


def _abs(a: Term) -> Term:
    low = 0.0 if a.low <= 0.0 <= a.high else min(abs(a.low), abs(a.high))
    return Term(a.shape, lambda v: abs(a.read(v)), low, max(abs(a.low), abs(a.high)), a.unit)


def _reduced(rule: np.ufunc, numbers: NDArray[np.float64]) -> Any:
    """One number of many by a ufunc, as numpy's methods (sum, mean, max, min) do it, without what they do around it."""
    return rule.reduce(numbers, axis=None)


def _norm(a: Term) -> Term:
    size = a.shape[0] if a.shape else 1
    most = max(abs(a.low), abs(a.high)) * math.sqrt(size)
    return Term((), lambda v: np.sqrt(_reduced(np.add, np.square(a.read(v)))), 0.0, most, a.unit)


def _dot(a: Term, b: Term) -> Term:
    if a.shape != b.shape or not a.shape:
        raise TermError(f"dot: expected two vectors of one length, found {a.form} and {b.form}")
    low, high = product(a, b)
    return Term((), lambda v: _reduced(np.add, a.read(v) * b.read(v)), a.shape[0] * low, a.shape[0] * high)


def _sum(a: Term) -> Term:
    size = a.shape[0] if a.shape else 1
    return Term((), lambda v: _reduced(np.add, a.read(v)), size * a.low, size * a.high, a.unit)


def _mean(a: Term) -> Term:
    size = a.shape[0] if a.shape else 1
    return Term((), lambda v: _reduced(np.add, a.read(v)) / size, a.low, a.high, a.unit)


def _extreme(name: str, *terms: Term) -> Term:
    """Of one vector its extreme number; of several terms the extreme, element by element."""
    rule, end = (np.minimum, min) if name == "min" else (np.maximum, max)
    if len(terms) == 1:
        (a,) = terms
        return Term((), lambda v: _reduced(rule, a.read(v)), a.low, a.high, a.unit)
    shape, unit = together(name, *terms), same_unit(name, *terms)
    low, high = end(t.low for t in terms), end(t.high for t in terms)

    def number(values: Values) -> Any:
        return end([t.read(values) for t in reversed(terms)])  # of -0 and 0 numpy takes the last, Python the first

    def vector(values: Values) -> Any:
        return functools.reduce(rule, [t.read(values) for t in terms])

    return Term(shape, vector if shape else number, low, high, unit)


def _clip(a: Term, low: Term, high: Term) -> Term:
    if low.high > high.low:
        raise TermError(f"clip: the lower limit can be {low.high:g}, above the upper one, {high.low:g}")
    least, most = (
        min(max(x, low_), high_) for x, low_, high_ in ((a.low, low.low, high.low), (a.high, low.high, high.high))
    )
    shape, unit = together("clip", a, low, high), same_unit("clip", a, low, high)

    def number(values: Values) -> Any:
        return min(max(a.read(values), low.read(values)), high.read(values))

    def vector(values: Values) -> Any:
        return a.read(values).clip(low.read(values), high.read(values))

    return Term(shape, vector if shape else number, least, most, unit)


def _any(a: Term) -> Term:
    need_condition("any", a)
    return Term((), lambda v: _reduced(np.maximum, a.read(v)), 0.0, 1.0, condition=True)


def _all(a: Term) -> Term:
    need_condition("all", a)
    return Term((), lambda v: _reduced(np.minimum, a.read(v)), 0.0, 1.0, condition=True)


FUNCTIONS: Mapping[str, tuple[Callable[..., Term], int, int]] = {  # with the fewest and the most arguments
    "abs": (_abs, 1, 1),
    "acos": (functools.partial(_arc, "acos", np.arccos, 0.0), 1, 1),
    "all": (_all, 1, 1),
    "any": (_any, 1, 1),
    "asin": (functools.partial(_arc, "asin", np.arcsin, -math.pi / 2), 1, 1),
    "atan2": (_atan2, 2, 2),
    "clip": (_clip, 3, 3),
    "cos": (_cosine, 1, 1),
    "dot": (_dot, 2, 2),
    "exp": (_exp, 1, 1),
    "log": (_log, 1, 1),
    "max": (functools.partial(_extreme, "max"), 1, 8),
    "mean": (_mean, 1, 1),
    "min": (functools.partial(_extreme, "min"), 1, 8),
    "norm": (_norm, 1, 1),
    "sin": (_sine, 1, 1),
    "sqrt": (_sqrt, 1, 1),
    "sum": (_sum, 1, 1),
    "tan": (_tangent, 1, 1),
    "tanh": (_tanh, 1, 1),
    "wrap": (_wrap, 1, 1),
}
