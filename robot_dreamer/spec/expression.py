"""Reward and end of a task as expressions over a robot's quantities: read, checked, compiled; never run as code.

    expression = Expression("exp(-10 * norm(tip - goal) ** 2) - 0.01 * norm(joints) ** 2", scope)
    reward = expression(values, values_of_the_row_before)

The text is parsed by Python's grammar; of its tree only what `_Reader` names is taken, and becomes closures over numpy.
Whatever is wrong is found when the spec is loaded: unknown names, shapes and units that do not go together, and what
could have no value (0/0, a root of less than 0). docs/rewards.md has the language.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_dreamer.spec import terms
from robot_dreamer.spec.functions import FUNCTIONS
from robot_dreamer.spec.terms import Term, TermError, Values

_LONGEST = 4000  # characters
_BINARY: Mapping[type[ast.operator], Callable[[Term, Term], Term]] = {
    ast.Add: terms.add,
    ast.Sub: terms.subtract,
    ast.Mult: terms.multiply,
    ast.Div: terms.divide,
    ast.Pow: terms.power,
}
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_CONSTANTS = {"pi": math.pi}
_BEFORE = "before"


class ExpressionError(ValueError):
    """An expression is wrong; the message says where in it, what was expected and what was found."""


class ExpressionFault(ValueError):
    """An expression has no value for these numbers, because one is outside of the range that the spec states."""


@dataclass(frozen=True, slots=True)
class Variable:
    """What a name of an expression stands for.

    Attributes:
      size: numbers; of a picture 0, because it cannot stand in an expression.
      elements: their names, where they have some.
      unit: of all, or of each, separated by commas.
      low, high: of all numbers.
    """

    size: int
    elements: tuple[str, ...] = ()
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf


class Expression:
    """A compiled expression.

    Args:
      scope: what its names stand for.
      condition: it must be one (terminal).

    Attributes:
      names: those of the scope that it uses.
      looks_back: it has a part `before(…)`, which is computed from the row before.
      low, high: what its values lie between, for all that the scope says.

    Raises:
      ExpressionError: it is wrong.
    """

    def __init__(self, text: str, scope: Mapping[str, Variable], condition: bool = False) -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise ExpressionError(f"expected at most {_LONGEST} characters, found {len(text)}")
        if "#" in text or "\0" in text:
            raise ExpressionError("a remark (#) belongs beside the expression, not inside, and a zero byte nowhere")
        line = " ".join(text.splitlines()).strip()  # it may go over several
        try:
            tree = ast.parse(line, mode="eval").body
            reader = _Reader(scope, _repeated(tree))
            term = reader.read(tree)
        except SyntaxError as error:
            raise ExpressionError(f"character {error.offset or 1}: no expression: {error.msg}") from error
        except (RecursionError, MemoryError) as error:  # what Python's parser says of depth
            raise ExpressionError("too many brackets within brackets") from error
        if term.shape:
            raise ExpressionError(f"expected one number, found a {term.form}; use norm, sum, mean, min or max")
        if condition and not term.condition:
            raise ExpressionError("expected a condition such as height < 0.2, found a number")
        self.names = frozenset(reader.used)
        self.looks_back = reader.looks_back
        self.low, self.high = term.low, term.high
        self._read = term.read

    def __call__(self, values: Values, before: Values) -> float:
        """Its value.

        Args:
          values: by name, [size] of each of `names`.
          before: those of the row before; in an episode's first row the same. Read if it looks back.

        Raises:
          ExpressionFault: it has none.
        """
        taken = {name: np.asarray(values[name], np.float64) for name in self.names}
        if self.looks_back:
            taken |= {_past(name): np.asarray(before[name], np.float64) for name in self.names}
        try:
            with np.errstate(divide="raise", invalid="raise", over="raise"):
                return float(self._read(taken.copy()))  # what is shared is added to it
        except FloatingPointError as error:
            found = ", ".join(f"{name} {array.tolist()}" for name, array in sorted(taken.items()))
            raise ExpressionFault(f"expression {self.text!r} has no value: {error}; with {found}") from error


class _Reader:
    """From syntax to terms. Everything that it does not name is refused. What is repeated is computed once."""

    def __init__(self, scope: Mapping[str, Variable], repeated: frozenset[str]) -> None:
        self.used: set[str] = set()
        self.looks_back = False
        self._looking_back = False
        self._scope = scope
        self._repeated = repeated

    def read(self, node: ast.expr) -> Term:
        try:
            term = self._term(node)
        except TermError as error:
            raise ExpressionError(f"{self._where(node)}: {error}") from error
        if self._repeated and (text := ast.unparse(node)) in self._repeated:
            return terms.shared(term, _past(text) if self._looking_back else text)
        return term

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return self._number(node, value)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return terms.negate(self.read(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return terms.invert(self._condition("not", operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](self.read(left), self.read(right))
            case ast.BoolOp(op=op, values=values):
                rule, sign = (terms.both, "and") if isinstance(op, ast.And) else (terms.either, "or")
                return _reduce(rule, [self._condition(sign, x) for x in values])
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(x) in _COMPARE for x in ops):
                sides = [self.read(x) for x in (left, *others)]
                pairs = zip(ops, sides[:-1], sides[1:], strict=True)
                return _reduce(terms.both, [terms.compare(_COMPARE[type(op)], a, b) for op, a, b in pairs])
            case ast.IfExp(test=test, body=body, orelse=other):
                return terms.choose(self._condition("if", test), self.read(body), self.read(other))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return self._element(node, name, index)
        raise ExpressionError(
            f"{self._where(node)}: {ast.unparse(node)!r} is not of the language, which has numbers, names, "
            f"name[index], + - * / **, comparisons, and, or, not, a if c else b, before, {', '.join(FUNCTIONS)}"
        )

    def _number(self, node: ast.expr, value: float) -> Term:
        if isinstance(value, bool) or not abs(value) <= 1e12:
            raise ExpressionError(f"{self._where(node)}: expected a number of at most 1e12, found {value!r:.40}")
        return terms.constant(float(value))

    def _name(self, node: ast.expr, name: str) -> Term:
        if name not in self._scope and name in _CONSTANTS:
            return terms.constant(_CONSTANTS[name])
        variable = self._variable(node, name)
        self.used.add(name)
        units = _units(variable)
        unit = units[0] if len(set(units)) == 1 else ""  # a vector of several units has none of its own
        shape = (variable.size,)
        term = Term(shape, self._reading(name), variable.low, variable.high, unit)
        return terms.pick(term, 0, unit) if variable.size == 1 else term

    def _element(self, node: ast.expr, name: str, index: ast.expr) -> Term:
        variable = self._variable(node, name)
        self.used.add(name)
        term = Term((variable.size,), self._reading(name), variable.low, variable.high)
        match index:
            case ast.Constant(value=str() as element):
                if element not in variable.elements:
                    raise ExpressionError(
                        f"{self._where(node)}: {name} has no element {_suggest(element, variable.elements)}"
                    )
                position = variable.elements.index(element)
                return terms.pick(term, position, _units(variable)[position])
            case ast.Constant(value=int() as position) if not isinstance(position, bool):
                if position >= variable.size:
                    raise ExpressionError(
                        f"{self._where(node)}: {name} has elements 0 to {variable.size - 1}, found {position}"
                    )
                return terms.pick(term, position, _units(variable)[position])
            case ast.Slice(lower=lower, upper=upper, step=None):
                start, stop = self._end(lower, 0), self._end(upper, variable.size)
                if not 0 <= start < stop <= variable.size:
                    raise ExpressionError(
                        f"{self._where(node)}: {name} has {variable.size} elements, found [{start}:{stop}]"
                    )
                units = set(_units(variable)[start:stop])
                return terms.pick(term, slice(start, stop), units.pop() if len(units) == 1 else "")
        raise ExpressionError(
            f"{self._where(node)}: an index is a number from 0, a range such as 0:3, or an element's name in quotes"
        )

    def _reading(self, name: str) -> Callable[[Values], Any]:
        key = _past(name) if self._looking_back else name
        return lambda values: values[key]

    def _before(self, node: ast.expr, arguments: list[ast.expr]) -> Term:
        """What its argument was worth in the row before."""
        if len(arguments) != 1 or self._looking_back:
            raise ExpressionError(f"{self._where(node)}: {_BEFORE} takes one argument, without another {_BEFORE} in it")
        self.looks_back = self._looking_back = True
        term = self.read(arguments[0])
        self._looking_back = False
        return term

    def _end(self, node: ast.expr | None, default: int) -> int:
        if node is None:
            return default
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        raise ExpressionError(f"{self._where(node)}: the ends of a range are whole numbers from 0, written out")

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Term:
        if name == _BEFORE:
            return self._before(node, arguments)
        if name not in FUNCTIONS:
            raise ExpressionError(f"{self._where(node)}: there is no function {_suggest(name, (*FUNCTIONS, _BEFORE))}")
        function, fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            expected = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(f"{self._where(node)}: {name} takes {expected} arguments, found {len(arguments)}")
        return function(*map(self.read, arguments))

    def _condition(self, sign: str, node: ast.expr) -> Term:
        term = self.read(node)
        terms.need_condition(sign, term)
        return term

    def _variable(self, node: ast.expr, name: str) -> Variable:
        if name not in self._scope:
            raise ExpressionError(f"{self._where(node)}: the robot has no {_suggest(name, self._scope)}")
        if not self._scope[name].size:
            raise ExpressionError(f"{self._where(node)}: {name} is a picture, which cannot stand in an expression")
        return self._scope[name]

    def _where(self, node: ast.expr) -> str:
        return f"character {node.col_offset + 1}"


def _past(name: str) -> str:
    """Where the values of an expression keep a quantity of the row before; no quantity can have such a name."""
    return f"{name} before"


def _repeated(tree: ast.expr) -> frozenset[str]:
    """The calls, sums, products and comparisons that an expression has more than once, as text."""
    parts = Counter(ast.unparse(x) for x in ast.walk(tree) if isinstance(x, ast.Call | ast.BinOp | ast.Compare))
    return frozenset(text for text, times in parts.items() if times > 1)


def _reduce(rule: Callable[[Term, Term], Term], parts: list[Term]) -> Term:
    whole = parts[0]
    for part in parts[1:]:
        whole = rule(whole, part)
    return whole


def _units(variable: Variable) -> list[str]:
    """The unit of each element."""
    each = [unit.strip() for unit in variable.unit.split(",")]
    return each if len(each) == variable.size else [variable.unit] * variable.size


def _suggest(name: str, known: Iterable[Any]) -> str:
    """`name`, the nearest known one, and all of them."""
    listed = sorted(map(str, known))
    near = difflib.get_close_matches(name, listed, n=1)
    meant = f" (nearest: {near[0]})" if near else ""
    return f"{name!r}{meant}; known: {', '.join(listed) or 'none'}"
