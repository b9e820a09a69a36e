"""The exact targets of a preview, carried through its form to the confirmation."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence

#: Bytes that a frozen selection may unpack to: 100,000 ids of 20 digits.
MAX_BYTES = 2_100_000


def freeze(ids: Iterable[int]) -> str:
    """Ids as short text: the steps between them, packed. 100,000 neighbours take less than 1 kB."""
    ordered = sorted(set(ids))
    steps = [b - a for a, b in zip([0, *ordered], ordered, strict=False)]
    return base64.urlsafe_b64encode(zlib.compress(",".join(map(str, steps)).encode(), 9)).decode()


def thaw(text: str) -> list[int]:
    """The ids of `freeze`, in order; ValueError for anything else."""
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.urlsafe_b64decode(text.encode()), MAX_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("too long")
        steps = [int(step) for step in raw.decode("ascii").split(",")] if raw else []
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ValueError(
            "The selection did not arrive whole; go back to the list and select again."
        ) from error
    ids, at = [], 0
    for step in steps:
        at += step
        ids.append(at)
    return ids


def difference(before: Sequence[int], now: Sequence[int]) -> str:
    """What came and went between two selections, in words: “3 more, 1 less”; "" for none."""
    more, less = len(set(now) - set(before)), len(set(before) - set(now))
    return ", ".join([f"{more:,} more"] * bool(more) + [f"{less:,} less"] * bool(less))
