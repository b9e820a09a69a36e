"""Sealing: what is committed, and what can no longer be joined by a late row, is hashed, chained and signed.

Ids are drawn when a row is inserted and seen when its transaction commits, so a lower id may come after a higher
one. A range of ids is sealed only once nothing can come into it any more:

1. The highest committed id, H, is read.
2. Who inserts holds ROW EXCLUSIVE on the table from before its id is drawn until its transaction has ended. So each
   transaction that drew an id ≤ H is either over or in `pg_locks` now. Those that are there are waited for.
3. When all of them have ended, what is committed with an id ≤ H is all that ever will be.

Nothing is locked and nobody waits but the sealer. A transaction that writes to the trail and stays open delays
sealing, never loses a row. A snapshot's xmin would not do: an id can be drawn before its transaction has a number.
"""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from . import keys, signing
from .canonical import FIRST, SELECT, canonical, digest_of, hash_of, header_of, id_of, line_of, pack
from .models import AuditSeal, time_text

logger = logging.getLogger(__name__)

#: Entries in one seal at most; advisory lock of the one sealer.
LARGEST = 10_000
LOCK = 7_320_001
#: Seconds that one call waits for open transactions; the next tick tries again.
PATIENCE = 2.0
#: Seconds between two lines of the log that say the same of a missing key; the clock asks every few.
SAID_EVERY = 3600.0
_said_at = float("-inf")

ROWS = f"SELECT {SELECT} FROM audit_auditentry WHERE id > %s AND id <= %s ORDER BY id LIMIT %s"  # noqa: S608 - constants
WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'audit_auditentry'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid IS DISTINCT FROM pg_backend_pid()
"""


def seal(*, patience: float = PATIENCE) -> list[AuditSeal]:
    """Seal all that can be sealed now; gives the new seals, none where there is nothing or somebody else seals.

    Raises signing.NoKey. Must not be called inside a transaction: it has to see what others commit meanwhile.
    """
    return list(_seal(patience))


def _seal(patience: float) -> Iterator[AuditSeal]:
    key = signing.signing_key()
    bound = settled_bound(patience)
    while bound is not None:
        with transaction.atomic(durable=True):
            made = _seal_next(bound, key)
        if made is None:
            return
        yield made


def settled_bound(patience: float) -> int | None:
    """An id below or at which every entry there will ever be is committed; None when it is not known in time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM audit_auditentry")
        (highest,) = cursor.fetchone()
        cursor.execute(WRITERS)
        writing = {row[0] for row in cursor.fetchall()}
        until = time.monotonic() + patience
        while writing:
            if time.monotonic() > until:
                logger.info("sealing waits for %s open transactions that write to the trail", len(writing))
                return None
            time.sleep(0.02)
            cursor.execute(WRITERS)
            writing &= {row[0] for row in cursor.fetchall()}
    return highest if highest is None else int(highest)


def _seal_next(bound: int, key: Ed25519PrivateKey) -> AuditSeal | None:
    """The next seal, of at most LARGEST entries; None where nothing is left or another sealer works."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return None
        before = AuditSeal.objects.defer("digests", "signature").order_by("-number").first()
        number, after, previous = (before.number + 1, before.up_to, before.hash) if before else (1, 0, FIRST)
        cursor.execute(ROWS, [after, bound, LARGEST])
        rows = cursor.fetchall()
    if not rows:
        return None
    digests = pack([(id_of(row), digest_of(line_of(row))) for row in rows])
    up_to = id_of(rows[-1]) if len(rows) == LARGEST else bound
    at = datetime.now(UTC)
    header = header_of(
        number=number, after=after, up_to=up_to, digests=digests, previous=previous,
        sealed_at=time_text(at), key=keys.key_id(key.public_key()),
    )  # fmt: skip
    return AuditSeal.objects.create(
        number=number, after=after, up_to=up_to, first_id=header["first"], last_id=header["last"], count=header["count"],
        rows_hash=header["rows"], previous_hash=previous, hash=hash_of(header), key_id=header["key"],
        signature=key.sign(canonical(header)), digests=digests, version=header["v"], sealed_at=at,
    )  # fmt: skip


def seal_if_possible() -> int:
    """As `seal`, for the clock: without a key it says so, once an hour, and seals nothing. Gives the number of new seals."""
    global _said_at
    try:
        return len(seal())
    except signing.NoKey as error:
        if time.monotonic() - _said_at >= SAID_EVERY:
            _said_at = time.monotonic()
            logger.error("%s", error)
        return 0
