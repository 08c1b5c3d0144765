"""What could stand where a file has a wrong word: msgspec says what it found there, and this what is known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

_WRONG = re.compile(r"Invalid enum value '([^']*)'|unknown field `([^`]*)`")
_PLACE = re.compile(r"( - at `key` in| - at) `\$([^`]*)`\Z")


def explained(error: msgspec.ValidationError, kind: type) -> tuple[str, str]:
    """What is wrong, with what is known there; and the field, such as observations[0].dtype; empty: top level."""
    place = _PLACE.search(str(error))
    problem = str(error)[: place.start()] if place else str(error)
    return problem + known_there(error, kind), place[2].lstrip(".") if place else ""


def known_there(error: msgspec.ValidationError, kind: type) -> str:
    """To stand behind the error of a conversion to `kind`: the words, or the fields, that are known at its place, with
    the nearest one. Empty where the error is about another thing."""
    wrong, place = _WRONG.search(str(error)), _PLACE.search(str(error))
    if wrong is None:
        return ""
    found = list(_options(inspect.type_info(kind)))
    for name, index in re.findall(r"\.([^.\[\]]+)|(\[[^\]]*\])", place[2] if place else ""):
        found = [option for x in found for inner in _within(x, name, index) for option in _options(inner)]
    if place and "key" in place[1]:
        found = [x.key_type for x in found if isinstance(x, inspect.DictType)]
    words = [str(value) for x in found if isinstance(x, inspect.LiteralType) for value in x.values]
    words += [field.encode_name for x in found if isinstance(x, inspect.StructType) for field in x.fields]
    near = difflib.get_close_matches(wrong[1] or wrong[2], words, 1)
    meant = f"; did you mean {near[0]}?" if near else ";"
    return f"{meant} known: {', '.join(sorted(words))}"


def _options(info: inspect.Type) -> Iterator[inspect.Type]:
    """The types of which a value may be."""
    yield from info.types if isinstance(info, inspect.UnionType) else (info,)


def _within(info: inspect.Type, name: str, index: str) -> Iterator[inspect.Type]:
    """The types of its field `name`; or of its entries."""
    if isinstance(info, inspect.StructType):
        yield from (field.type for field in info.fields if field.encode_name == name)
    elif index and isinstance(info, inspect.CollectionType):
        yield info.item_type
    elif index and isinstance(info, inspect.DictType):
        yield info.value_type
