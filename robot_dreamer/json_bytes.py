"""JSON that somebody else wrote, or a disk that has lost bytes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode_json(content: str | bytes | bytearray | memoryview, kind: type[T]) -> T:
    """Content of that kind. Raises msgspec.DecodeError, also for text that is no UTF-8, which msgspec lets through."""
    try:
        return msgspec.json.decode(content, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
