"""Retention: months of entries that are old enough are archived, verified, signed for, and only then let go, as whole partitions.

It takes the owner of the tables, which the portal's own database role is not, and the signing key. The seals stay: they
prove an archive, whoever keeps it, and name each entry that was.

1. `plan` says what would go, or refuses: too young, not sealed, not sent on yet, not the owner's to do.
2. The archive is written: an export of the seals that cover what goes, with their entries. It must verify by itself.
3. In one transaction the retirement is signed and inserted, told in the trail, and the partitions are dropped.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from apps.access.services import system_actor

from . import exporting, keys, outside, signing
from .canonical import FIRST, canonical
from .choices import EventKind
from .models import AuditEntry, AuditRetirement, AuditSeal, AuditStream, time_text
from .partitions import TABLE, Partition, is_owner, partitions
from .retirements import hash_of, header_of
from .telling import tell

#: Entries that a retirement names one by one at most: those between the last seal that goes whole and the month's end.
MOST_NAMED = 100_000


class NotRetired(Exception):
    """Nothing was let go; its message says what stands against it, and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go: `partitions` with `entries`; the seal up to which all are gone, and the last that covers one of them."""

    before: date
    partitions: tuple[Partition, ...]
    entries: int
    first: int
    last: int
    seal: int
    seal_hash: str
    gone: tuple[int, ...]
    covered_by: int


def plan(before: date) -> Plan:
    """What would be let go of the entries written before the first of a month. Raises NotRetired."""
    if not is_owner():
        raise NotRetired(
            "This takes the owner of the tables; the portal's own role may not. Run it with the DATABASE_URL that migrates."
        )
    oldest = timezone.now().date() - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    if before.day != 1:
        raise NotRetired(
            f"Months go as a whole: --before is the first of a month, such as {before.replace(day=1)}."
        )
    if before > oldest:
        raise NotRetired(
            f"Entries are kept {settings.AUDIT_RETENTION_DAYS} days (AUDIT_RETENTION_DAYS): nothing after {oldest} goes."
        )
    found = tuple(one for one in partitions() if one.until is not None and one.until <= before)
    counted = [_span(one) for one in found]
    entries = sum(count for count, _, _ in counted)
    if not entries:
        raise NotRetired(f"No partition that ends on or before {before} holds an entry.")
    first = min(low for count, low, _ in counted if count)
    last = max(high for count, _, high in counted if count)
    return _within_the_chain(before, found, entries, first, last)


def _span(one: Partition) -> tuple[int, int, int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM {one.name}")  # noqa: S608 - from the catalogue
        count, low, high = cursor.fetchone()
    return int(count), int(low), int(high)


def _within_the_chain(
    before: date, found: tuple[Partition, ...], entries: int, first: int, last: int
) -> Plan:
    """The rest of the plan: where the seals lie, and what a stream still waits for."""
    seals = AuditSeal.objects.defer("digests", "signature")
    covering = seals.filter(up_to__gte=last).order_by("up_to").first()
    if covering is None:
        raise NotRetired(f"Entry {last} is not sealed yet: manage.py audit seal")
    late = AuditStream.objects.filter(is_enabled=True, sent_to__lt=last).order_by("name").first()
    if late is not None:
        raise NotRetired(f"The stream {late} has not got entry {last} yet; let it catch up, or disable it.")
    kept = AuditEntry.objects.filter(timestamp__gte=_midnight(before)).aggregate(low=Min("pk"))["low"]
    whole = seals.filter(up_to__lt=kept if kept is not None else last + 1).order_by("-up_to").first()
    earlier = AuditRetirement.objects.order_by("-number").first()
    seal, seal_hash, up_to = (whole.number, whole.hash, whole.up_to) if whole else (0, "", 0)
    if earlier is not None and earlier.header["seal"] > seal:
        seal, seal_hash = earlier.header["seal"], earlier.header["seal_hash"]
        up_to = seals.get(number=seal).up_to
    named = {pk for pk in (earlier.header["gone"] if earlier else ()) if pk > up_to} | _ids(found, up_to)
    if len(named) > MOST_NAMED:
        raise NotRetired(
            f"Over {MOST_NAMED:,} entries that would go lie among younger ones (entry {kept} is kept): too many to name one by "
            "one. Is something old in the default partition?"
        )
    return Plan(before, found, entries, first, last, seal, seal_hash, tuple(sorted(named)), covering.number)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _ids(found: tuple[Partition, ...], above: int) -> set[int]:
    ids: set[int] = set()
    with connection.cursor() as cursor:
        for one in found:
            query = f"SELECT id FROM {one.name} WHERE id > %s ORDER BY id LIMIT %s"  # noqa: S608 - from the catalogue
            cursor.execute(query, [above, MOST_NAMED + 1])
            ids |= {row[0] for row in cursor.fetchall()}
    return ids


def retire(wanted: Plan, folder: Path) -> AuditRetirement:
    """Archive, verify, sign, let go. Raises NotRetired, signing.NoKey, FileExistsError; then nothing was let go."""
    key = signing.signing_key()
    earlier = AuditRetirement.objects.order_by("-number").first()
    exporting.export(folder, after=earlier.header["seal"] if earlier else 0, through=wanted.covered_by)
    trusted = [text for _, text in signing.public_keys()]
    verdict = outside.verify_export(folder, key_texts=trusted)
    if not verdict.holds:
        raise NotRetired(f"The archive in {folder} does not verify: {outside.words(verdict)}")
    archive = _digest(folder / outside.ENTRIES)
    now = datetime.now(UTC)
    header = header_of(
        number=earlier.number + 1 if earlier else 1, before=wanted.before.isoformat(), seal=wanted.seal,
        seal_hash=wanted.seal_hash, gone=wanted.gone, entries=wanted.entries, archive=archive,
        previous=earlier.hash if earlier else FIRST, at=time_text(now), key=keys.key_id(key.public_key()),
    )  # fmt: skip
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        if plan(wanted.before) != wanted:
            raise NotRetired(
                "Something came to it meanwhile; look at it again. The archive is there and may be deleted."
            )
        made = AuditRetirement.objects.create(
            number=header["number"],
            header=header,
            hash=hash_of(header),
            signature=key.sign(canonical(header)),
            at=now,
        )
        for one in wanted.partitions:
            cursor.execute(f"DROP TABLE {one.name}")
        what = f"{wanted.entries} entries before {wanted.before} let go, archived as {archive[:16]}…"
        tell(
            EventKind.RETENTION, what, actor=system_actor("command"), reason="manage.py audit retire", via="command",
            details={"before": wanted.before.isoformat(), "first": wanted.first, "last": wanted.last, "archive": archive},
        )  # fmt: skip
    return made


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
