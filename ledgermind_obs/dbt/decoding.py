"""Typed JSON, decoded by one thread or by several.

msgspec learns a type when it is first used, and another thread that uses the type meanwhile crashes
the process (seen with msgspec 0.22: a null pointer in ``_core``). So types are learnt one by one.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_learning = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(content: bytes | str, kind: type[T]) -> T:
    """Return the JSON document as a value of this type.

    Raises msgspec.ValidationError if it is of another form, msgspec.DecodeError if it is no JSON.
    """
    with _learning:
        decoder = _decoders.get(kind) or _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    found: T = decoder.decode(content)
    return found
