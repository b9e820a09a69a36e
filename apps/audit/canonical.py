"""The one form in which an entry and a seal are hashed: docs/explanation/audit-trail.md specifies it.

An entry is one line of JSON: an object, its keys sorted by code point, no white space between tokens, UTF-8 with
nothing escaped that JSON does not oblige to escape; a value that is null or an empty text is left out, so that a
column added later does not change the lines of older entries. The SHA-256 of the line's bytes, without the line's
end, is the entry's digest. The export writes these very lines. Nothing here needs Django or a database.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = 1
DIGEST, LEAF = 32, 40  # bytes: a SHA-256; an id as eight bytes, big-endian, and its digest
FIRST = "0" * 64  # what the first seal names as the one before it

#: Key of the line → SQL that gives it. Sorted; every column of the table, so that none can be changed unseen.
_TIME = """to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
FIELDS: dict[str, str] = {
    "action": "action",
    "actor_email": "actor_email",
    "actor_id": "actor_id",
    "additional_data": "additional_data::text",
    "at": _TIME,
    "changes": "changes::text",
    "changes_text": "changes_text",
    "content_type_id": "content_type_id",
    "event": "event",
    "grant_id": "grant_id",
    "id": "id",
    "object_id": "object_id",
    "object_pk": "object_pk",
    "object_repr": "object_repr",
    "operation_id": "operation_id",
    "reason": "reason",
    "remote_addr": "host(remote_addr)",
    "remote_port": "remote_port",
    "request_id": "cid",
    "serialized_data": "serialized_data::text",
    "under": "under",
    "via": "via",
}
JSON_FIELDS = frozenset({"additional_data", "changes", "serialized_data"})
SELECT = ", ".join(FIELDS.values())
_ID = list(FIELDS).index("id")
_NAMES = [(name, name in JSON_FIELDS) for name in FIELDS]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def canonical(obj: Any) -> bytes:
    """Any JSON value as bytes, in the form above."""
    return _encode(obj).encode()


def line_of(row: Sequence[Any]) -> bytes:
    """The line of a row as `SELECT` gives it."""
    kept: dict[str, Any] = {}
    for (name, is_json), value in zip(_NAMES, row, strict=True):
        if value is not None and value != "":
            kept[name] = json.loads(value) if is_json else value
    return _encode(kept).encode()


def id_of(row: Sequence[Any]) -> int:
    """The id of a row as `SELECT` gives it."""
    return int(row[_ID])


def digest_of(line: bytes) -> bytes:
    """The digest of a line, 32 bytes."""
    return hashlib.sha256(line).digest()


def pack(leaves: Sequence[tuple[int, bytes]]) -> bytes:
    """Ids and digests as the seal keeps them: 40 bytes each, in the order of ids."""
    return b"".join(pk.to_bytes(8, "big") + digest for pk, digest in leaves)


def unpack(packed: bytes) -> Iterator[tuple[int, bytes]]:
    """The other way round."""
    for at in range(0, len(packed) - LEAF + 1, LEAF):
        yield int.from_bytes(packed[at : at + 8], "big"), packed[at + 8 : at + LEAF]


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain. `header` is what is hashed and signed; `digests` is what its `rows` is the hash of."""

    header: dict[str, Any]
    hash: str
    signature: bytes
    digests: bytes

    @property
    def number(self) -> int:
        return int(self.header["number"])


def header_of(
    *, number: int, after: int, up_to: int, digests: bytes, previous: str, sealed_at: str, key: str
) -> dict[str, Any]:
    """The header of a seal over the entries with `after` < id ≤ `up_to`."""
    ids = [pk for pk, _ in unpack(digests)]
    return {
        "v": VERSION,
        "number": number,
        "after": after,
        "up_to": up_to,
        "first": ids[0],
        "last": ids[-1],
        "count": len(ids),
        "rows": hashlib.sha256(digests).hexdigest(),
        "previous": previous,
        "sealed_at": sealed_at,
        "key": key,
    }


def hash_of(header: dict[str, Any]) -> str:
    """The hash of a seal: SHA-256 over the canonical header, as hexadecimal digits."""
    return hashlib.sha256(canonical(header)).hexdigest()
