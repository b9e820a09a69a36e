"""What retention leaves behind: a signed checkpoint that says which entries were let go, so that the rest verifies. No Django here.

A retirement names the last seal all of whose entries are gone, by number and hash, and one by one the entries that are
gone of the seals after it (a seal does not end where a month does). Whoever deletes anything else is found, for the
lists are signed; whoever deletes or changes a retirement is, for the entries are then asked for.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .canonical import FIRST, canonical
from .keys import is_signed

VERSION = 1


@dataclass(frozen=True, slots=True)
class Retirement:
    """One act of retention. `header` is what is hashed and signed."""

    header: dict[str, Any]
    hash: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """What a verifier must not ask for: the entries of seals up to `seal`, and those in `gone`; and why it may not go on."""

    seal: int = 0
    seal_hash: str = ""
    gone: frozenset[int] = frozenset()
    wrong: str = ""


def header_of(
    *,
    number: int,
    before: str,
    seal: int,
    seal_hash: str,
    gone: Sequence[int],
    entries: int,
    archive: str,
    previous: str,
    at: str,
    key: str,
) -> dict[str, Any]:
    """The header: entries written before the day `before` were let go, `entries` of them; `archive` is the SHA-256 of the file they went to."""
    return {
        "v": VERSION,
        "number": number,
        "before": before,
        "seal": seal,
        "seal_hash": seal_hash,
        "gone": list(gone),
        "entries": entries,
        "archive": archive,
        "previous": previous,
        "at": at,
        "key": key,
    }


def hash_of(header: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical header, as hexadecimal digits."""
    return hashlib.sha256(canonical(dict(header))).hexdigest()


def terms(retirements: Iterable[Retirement], keys: Mapping[str, Ed25519PublicKey]) -> Terms:
    """What the newest of them says, if each is whole, signed by a trusted key and follows the one before it."""
    previous, number, found = FIRST, 0, Terms()
    for one in retirements:
        header = one.header
        name = f"the retention checkpoint #{header.get('number')}"
        key = keys.get(str(header.get("key")))
        if hash_of(header) != one.hash or header["number"] != number + 1 or header["previous"] != previous:
            return Terms(wrong=f"{name} was changed, or one before it is missing")
        if key is None or not is_signed(key, one.signature, canonical(header)):
            return Terms(wrong=f"{name} is not signed by a key that is trusted")
        if header["seal"] < found.seal:
            return Terms(wrong=f"{name} takes back what was let go")
        previous, number = one.hash, header["number"]
        found = Terms(header["seal"], header["seal_hash"], frozenset(header["gone"]))
    return found
