"""JSON from outside, as the database can keep it."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn


def loads(raw: bytes | str) -> Any:
    """As `json.loads`; ValueError, which says why, also for what is no JSON by the letter or cannot be kept.

    That is NaN and the infinities (a number too large is one), nesting beyond all bounds, and texts with NUL or half
    of a surrogate pair: PostgreSQL keeps none of them, and each would be a fault of ours at the writing.
    """
    try:
        found = json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as deep:
        raise ValueError("it is nested too deeply") from deep
    for text in _texts(found):
        if "\x00" in text:
            raise ValueError("a text holds a NUL character (U+0000)")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("a text holds half of a surrogate pair")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(text: str) -> float:
    if not math.isfinite(found := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return found


def _texts(found: Any) -> Iterator[str]:
    """Every text in it, keys too."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
