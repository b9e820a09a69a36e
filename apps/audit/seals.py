"""What the pages say about seals: which covers an entry, whether it was verified, whether it holds right now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.core.enriching import EnrichedQuerySet

from . import keys
from .canonical import SELECT, canonical, digest_of, hash_of, line_of, unpack
from .models import AuditCheck, AuditEntry, AuditRetirement, AuditSeal, AuditStream, SealQuerySet
from .signing import trusted_keys

#: Up to here entries that wait for a seal are counted.
MOST_WAITING = 10_000

COVERING = """
    SELECT entry.id, seal.number FROM unnest(%s::bigint[]) AS entry(id)
    CROSS JOIN LATERAL (
        SELECT number, after FROM audit_auditseal WHERE up_to >= entry.id ORDER BY up_to LIMIT 1
    ) AS seal WHERE seal.after < entry.id
"""
ONE = f"SELECT {SELECT} FROM audit_auditentry WHERE id = %s"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class SealState:
    """What is known of an entry's or a seal's state: a tone and words of the house, and the seal's number."""

    tone: str
    text: str
    number: int | None = None
    digest: str = ""


def last_check() -> AuditCheck | None:
    """The newest verification of the whole trail."""
    return AuditCheck.objects.order_by("-at").first()


def last_retirement() -> AuditRetirement | None:
    """What retention let go the last time."""
    return AuditRetirement.objects.order_by("-number").first()


def covering(ids: Sequence[int]) -> dict[int, int]:
    """By entry's id, the number of the seal that covers it; one query."""
    with connection.cursor() as cursor:
        cursor.execute(COVERING, [list(ids)])
        return dict(cursor.fetchall())


def entry_state(pk: int, number: int | None, check: AuditCheck | None) -> SealState:
    """The state of an entry under seal `number`, as the last verification found it."""
    if number is None:
        return SealState("idle", "not sealed yet")
    if check is not None and check.broken_entry == pk:
        return SealState("bad", "broken", number)
    return seal_state(number, check)


def seal_state(number: int, check: AuditCheck | None) -> SealState:
    """The state of a seal, as the last verification found it."""
    if check is None or number > check.seals_to:
        if check is not None and check.broken_seal is not None and number >= check.broken_seal:
            is_it = number == check.broken_seal
            return SealState("bad" if is_it else "warn", "broken" if is_it else "after the break", number)
        return SealState("idle", "sealed", number)
    return SealState("ok", "verified", number)


def with_states(rows: Sequence[AuditEntry]) -> None:
    """Give each entry its `seal_state`; two queries for all."""
    numbers, check = covering([row.pk for row in rows]), last_check()
    for row in rows:
        row.seal_state = entry_state(row.pk, numbers.get(row.pk), check)


def with_seal_states(rows: Sequence[AuditSeal]) -> None:
    """Give each seal its `state`; one query for all."""
    check = last_check()
    for row in rows:
        row.state = seal_state(row.number, check)


def seals(user: Any) -> SealQuerySet:
    """Seals that `user` may see, newest first, without their digests."""
    rows: Any = visible(user, AuditSeal, Permission.SEE_AUDIT)
    found: SealQuerySet = rows.defer("digests", "signature").order_by("-number")
    return found


def waiting() -> int:
    """How many entries are not sealed yet; counted up to MOST_WAITING."""
    newest = AuditSeal.objects.order_by("-number").values_list("up_to", flat=True).first() or 0
    return int(AuditEntry.objects.filter(pk__gt=newest).order_by()[:MOST_WAITING].count())


def look_at(entry: AuditEntry) -> SealState:
    """Verify one entry now: its row against the digest in its seal, the seal's hash and signature.

    The chain before it is what a whole verification looks at.
    """
    number = covering([entry.pk]).get(entry.pk)
    if number is None:
        return SealState("idle", "not sealed yet: the next seal covers it")
    link = AuditSeal.objects.get(number=number).link()
    with connection.cursor() as cursor:
        cursor.execute(ONE, [entry.pk])
        digest = digest_of(line_of(cursor.fetchone()))
    key = trusted_keys().get(link.header["key"])
    if dict(unpack(link.digests)).get(entry.pk) != digest:
        return SealState("bad", "it is not what was sealed", number)
    if (
        hash_of(link.header) != link.hash
        or key is None
        or not keys.is_signed(key, link.signature, canonical(link.header))
    ):
        return SealState("bad", "its seal is not whole, or not signed by a key that is trusted", number)
    return SealState("ok", "as sealed", number, digest.hex())


BEHIND = f"""
    SELECT stream.id, (SELECT count(*) FROM (
        SELECT 1 FROM audit_auditentry WHERE id > stream.sent_to AND id <= (SELECT max(up_to) FROM audit_auditseal)
        LIMIT {MOST_WAITING}) AS rest)
    FROM unnest(%s::bigint[], %s::bigint[]) AS stream(id, sent_to)
"""  # noqa: S608 - constants


def streams(user: Any) -> EnrichedQuerySet[AuditStream]:
    """Streams that `user` may see, each with how many sealed entries it is behind; one query more for all."""
    rows: Any = visible(user, AuditStream, Permission.SEE_AUDIT)
    found: EnrichedQuerySet[AuditStream] = rows.enriched_by(with_lag).order_by("name")
    return found


def with_lag(rows: Sequence[AuditStream]) -> None:
    """Give each stream `behind`: sealed entries not taken yet, counted up to MOST_WAITING."""
    with connection.cursor() as cursor:
        cursor.execute(BEHIND, [[row.pk for row in rows], [row.sent_to for row in rows]])
        behind = dict(cursor.fetchall())
    for row in rows:
        row.behind = behind[row.pk]
