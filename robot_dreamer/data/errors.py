"""What the data commands raise."""

from __future__ import annotations


class DataError(ValueError):
    """A store or a bag cannot be read, written or used; the message says which, why and what to do."""
