"""From a file to statements: taken in once, read in one transaction, refused whole or imported whole.

The bill's row is the job. `read_bill` holds the row's lock while it works, so a second worker passes by, and a
worker that is killed leaves a row that the next hint takes up again: nothing of it was committed.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from shutil import rmtree
from typing import Any

import duckdb
from django.db import transaction
from django.utils import timezone

from apps.access.models import User
from apps.access.services import system_actor
from apps.accounts.models import Account
from apps.core.context import acting
from apps.core.events import event, record

from . import allocating, buckets, checking, focus, grouping, store
from .checking import Finding
from .choices import MOST_TRIES, BillState
from .duck import connected
from .locks import Lock, hold
from .models import Bill, Rule, Statement, SubAccount
from .store import Taken, Unusable

#: A delivery that was not imported may come again and is then read again.
READ_AGAIN = (BillState.REFUSED, BillState.FAILED)
TOO_LARGE = "Its amounts add up to more than can be kept (twenty digits before the point) or shared out."


class Refusal(Exception):
    """The bill breaks rules; carries the findings."""

    def __init__(self, findings: list[Finding], lines: int = 0) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings, self.lines = findings, lines


# --- Taking in -----------------------------------------------------------------------------------


def receive_upload(files: Iterable[tuple[str, Iterable[bytes]]], *, actor: User) -> tuple[Bill, bool]:
    """Take in the files of one delivery, given as (name, chunks). Gives the bill, and whether it will be read.

    The same files again change nothing, unless they were refused or failed.

    Raises Unusable; then nothing was kept.
    """
    return _receive(
        lambda folder: [store.take_stream(n, c, folder, i) for i, (n, c) in enumerate(files)], actor
    )


def receive_paths(paths: Iterable[Path], *, actor: User) -> tuple[Bill, bool]:
    """Take in files of this machine as one delivery; see `receive_upload`."""
    return _receive(
        lambda folder: [store.take_path(p, folder, i) for i, p in enumerate(sorted(paths))], actor
    )


def receive_objects(objects: Iterable[buckets.Object], *, actor: User) -> tuple[Bill, bool]:
    """Take in objects of a bucket as one delivery; see `receive_upload`."""
    return _receive(lambda folder: buckets.take(objects, folder), actor)


def receive_folder(folder: Path, *, actor: User) -> tuple[list[tuple[Bill, bool]], list[str]]:
    """Take in what lies in a folder: each file is a bill, each folder in it is a bill of many files.

    What cannot be taken in is told, by name, in the second list; the others are taken.
    """
    made, refused = [], []
    for entry in sorted(folder.iterdir()):
        files = [p for p in entry.rglob("*") if p.is_file()] if entry.is_dir() else [entry]
        files = [p for p in files if p.name.lower().endswith(store.SUFFIXES)]
        if files:
            try:
                made.append(receive_paths(files, actor=actor))
            except Unusable as error:
                refused.append(str(error))
    return made, refused


def _receive(take: Any, actor: User) -> tuple[Bill, bool]:
    folder = store.new_folder()
    try:
        files: list[Taken] = take(folder)
        if not files:
            raise Unusable("There is no file in it.")
        digest = store.delivery_digest(files)
        known = Bill.objects.filter(digest=digest).exclude(state__in=READ_AGAIN).exists()
        store.keep(folder, digest, replace=not known)
    finally:
        if folder.exists():
            rmtree(folder)
    return _bill_of(files, digest, actor)


def _bill_of(files: list[Taken], digest: str, actor: User) -> tuple[Bill, bool]:
    name = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    with transaction.atomic(), acting(actor, reason="bill received"):
        bill, is_new = Bill.objects.get_or_create(
            digest=digest,
            defaults={"name": name[:200], "files": [one.as_json() for one in files], "received_by": actor},
        )
        if bill.state in READ_AGAIN:
            bill.state, bill.tries, is_new = BillState.RECEIVED, 0, True
            bill.save()
        if is_new:
            transaction.on_commit(lambda: _nudge(bill.pk))
    return bill, is_new


def _nudge(bill_id: int) -> None:
    # Late: an actor can be made only once the broker is there.
    from . import actors

    actors.read_bill.send(bill_id)


def open_bills() -> list[int]:
    """Bills that wait, or whose worker may have died: what the clock hints at again and again."""
    return list(
        Bill.objects.filter(state__in=(BillState.RECEIVED, BillState.READING)).values_list("pk", flat=True)
    )


def read_open_bills() -> None:
    """Read every bill that waits, oldest first."""
    for bill_id in sorted(open_bills()):
        read_bill(bill_id)


def retry_bill(bill: Bill, *, actor: User) -> None:
    """Have a refused or failed bill read again, after what stood in its way is gone."""
    with transaction.atomic(), acting(actor):
        Bill.objects.filter(pk=bill.pk, state__in=READ_AGAIN).update(state=BillState.RECEIVED, tries=0)
        transaction.on_commit(lambda: _nudge(bill.pk))


# --- Reading -------------------------------------------------------------------------------------


def read_bill(bill_id: int) -> None:
    """Read, check, allocate and count a bill that waits; does nothing where it is done or somebody is at it.

    1. The try is counted and committed, so that a bill that kills its worker is given up after MOST_TRIES.
    2. In one transaction, under the row's lock: check, statements, facts, state. A refusal writes only the report.
    """
    with acting(system_actor("bills"), reason="bill read", via="system"):
        if not _begin(bill_id):
            return
        with transaction.atomic():
            bill = (
                Bill.objects.select_for_update(skip_locked=True)
                .filter(pk=bill_id, state=BillState.READING)
                .first()
            )
            if bill is None:
                return
            try:
                with transaction.atomic(), connected() as duck:
                    _import(duck, bill)
            except Refusal as refusal:
                _refuse(bill, refusal)
            except (duckdb.OutOfRangeException, duckdb.ConversionException):
                # Each line was read: what does not fit is what some of them add up to, or a share of it.
                _refuse(bill, Refusal([Finding("sum.too_large", TOO_LARGE)]))


def _begin(bill_id: int) -> bool:
    with transaction.atomic():
        bill = (
            Bill.objects.select_for_update(skip_locked=True)
            .filter(pk=bill_id, state__in=(BillState.RECEIVED, BillState.READING))
            .first()
        )
        if bill is None:
            return False
        bill.tries += 1
        bill.started_at = timezone.now()
        bill.state = BillState.READING
        if bill.tries > MOST_TRIES:
            bill.state, bill.finished_at = BillState.FAILED, timezone.now()
            text = f"Reading it ended {MOST_TRIES} times without an answer; the worker's log says why."
            bill.report = checking.as_report([Finding("reading.failed", text)])
        bill.save()
        return bill.state == BillState.READING


def _refuse(bill: Bill, refusal: Refusal) -> None:
    bill.state, bill.finished_at = BillState.REFUSED, timezone.now()
    bill.lines, bill.report = refusal.lines, checking.as_report(refusal.findings)
    bill.save()
    record([event("bill.refused", f"Bill {bill} was refused", why=refusal.findings[0].message, tone="bad")])


def _import(duck: duckdb.DuckDBPyConnection, bill: Bill) -> None:
    """Raises Refusal; the caller's savepoint then undoes what was written."""
    opened = grouping.open_files(duck, _files(duck, bill))
    ruleset, rules = allocating.rules_that_count()
    lines, findings = _grouped(duck, bill, opened, rules)
    grouping.name_accounts(duck, opened)
    found = _statements(duck)
    hold(Lock.MONEY)
    findings += _overlaps(found)
    if any(one.is_error for one in findings):
        raise Refusal(findings, lines)
    _sub_accounts(duck)
    changes = []
    statements = []
    for one in found:
        statement, change = _write_statement(bill, one)
        statements.append(statement)
        changes.append(change)
    with ThreadPoolExecutor(max_workers=1) as looker:
        # Every line has been read: whether the files are what was taken in is found out while PostgreSQL takes in facts.
        whole = looker.submit(_still_whole, bill)
        # Rules activated meanwhile find these statements counted by former ones, and follow.
        allocating.allocate_groups(duck, statements, ruleset, rules)
        whole.result()
    bill.state, bill.finished_at, bill.lines = BillState.IMPORTED, timezone.now(), lines
    bill.report = checking.as_report(findings, changes=changes, tags=opened.tags)
    bill.save()
    record([event("bill.imported", f"Bill {bill} was imported: {lines:,} lines")])


def _files(duck: duckdb.DuckDBPyConnection, bill: Bill) -> list[tuple[str, list[focus.Source]]]:
    """The bill's files with their columns. Raises Refusal where a column lacks or cannot be read."""
    files, findings = [], list[Finding]()
    for path, told in _paths(bill):
        try:
            lines_path, columns = store.as_parquet(duck, path)
        except (Unusable, OSError) as error:
            raise Refusal([Finding("file.unreadable", str(error), file=told)]) from error
        found = focus.sources(columns)
        if other := focus.other_dataset(columns):
            text = f"It is FOCUS's {other} dataset; deliver the Cost and Usage dataset."
            findings.append(Finding("file.dataset", text, file=told))
            continue
        findings += checking.check_columns(told, found)
        files.append((str(lines_path), found))
    if any(one.is_error for one in findings):
        raise Refusal(findings)
    return files


def _grouped(
    duck: duckdb.DuckDBPyConnection, bill: Bill, opened: grouping.Opened, rules: list[Rule]
) -> tuple[int, list[Finding]]:
    """Lines in all, and what is wrong with them, which is looked for only where the one pass met something."""
    unread: duckdb.Error | None = None
    try:
        is_broken = grouping.group(duck, opened, rules)
    except duckdb.Error as error:
        is_broken, unread = True, error
    lines, findings = 0, list[Finding]()
    for (path, found), (_, told) in zip(opened.files, _paths(bill), strict=True):
        try:
            count = checking.count_lines(duck, path)
            findings += checking.check_lines(duck, path, told, found) if is_broken or not count else []
        except duckdb.Error as error:
            text = str(error).split("\n")[0][:300]
            raise Refusal([Finding("file.unreadable", text, file=told)]) from error
        lines += count
    if unread and not any(one.is_error for one in findings):
        if isinstance(unread, duckdb.OutOfRangeException | duckdb.ConversionException):
            findings.append(Finding("sum.too_large", TOO_LARGE))
        else:
            findings.append(Finding("file.unreadable", str(unread).split("\n")[0][:300]))
    if any(one.is_error for one in findings):
        raise Refusal(findings, lines)
    return lines, findings


def _paths(bill: Bill) -> list[tuple[Path, str]]:
    folder = store.folder_of(bill.digest)
    return [(folder / one["stored"], one["name"]) for one in bill.files]


def _still_whole(bill: Bill) -> None:
    """Raises Refusal where a kept file is no longer what was taken in."""
    for one, (path, told) in zip(bill.files, _paths(bill), strict=True):
        if not store.still_as_taken(path, one["digest"]):
            text = "The file changed while it was read; deliver it again."
            raise Refusal([Finding("file.changed", text, file=told)])


def _statements(duck: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """What the bill adds up to, by billing account, period and currency."""
    cursor = duck.execute(
        "SELECT provider, billing_account, any_value(n.name) AS billing_account_name, currency, period AS period_start, "
        "max(period_end) AS period_end, CAST(sum(lines) AS BIGINT) AS lines, "
        "sum(billed) AS billed, sum(effective) AS effective, sum(listed) AS listed FROM summed JOIN kinds USING (file, kind) "
        "LEFT JOIN (SELECT provider, billing_account, max(billing_account_name) AS name FROM names GROUP BY ALL) n "
        "USING (provider, billing_account) GROUP BY provider, billing_account, currency, period ORDER BY 1, 2, 4, 5"
    )
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _overlaps(found: list[dict[str, Any]]) -> list[Finding]:
    """Statements whose period reaches into another one of the same billing account, or is a part of the one they would correct."""
    findings = []
    spans: dict[tuple[str, str, str], list[tuple[date, date]]] = {}
    for one in found:
        key = (one["provider"], one["billing_account"], one["currency"])
        known = spans.setdefault(key, _known_spans(key))
        for start, end in known:
            if start != one["period_start"] and start < one["period_end"] and one["period_start"] < end:
                text = (
                    f"{one['billing_account']}: the period {one['period_start']} to {one['period_end']} overlaps "
                    f"{start} to {end}, which is counted already."
                )
                findings.append(Finding("period.overlap", text, "BillingPeriodStart"))
            elif start == one["period_start"] and one["period_end"] < end:
                text = (
                    f"{one['billing_account']}: the period from {start} ends on {one['period_end']} here and on {end} in what "
                    "is counted already, which it would take the place of; deliver the whole period."
                )
                findings.append(Finding("period.shorter", text, "BillingPeriodEnd"))
        known.append((one["period_start"], one["period_end"]))
    return findings


def _known_spans(key: tuple[str, str, str]) -> list[tuple[date, date]]:
    rows = Statement.objects.filter(provider=key[0], billing_account=key[1], currency=key[2], is_current=True)
    return list(rows.values_list("period_start", "period_end"))


def _sub_accounts(duck: duckdb.DuckDBPyConnection) -> None:
    """Make the sub-accounts that are new; one whose id is an account's own is placed in it at once."""
    seen = duck.execute(
        "SELECT provider, sub_account, coalesce(max(sub_account_name), '') FROM names GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    known = set(SubAccount.objects.values_list("provider", "external_id"))
    accounts = dict(Account.objects.exclude(external_id="").values_list("external_id", "pk"))
    SubAccount.objects.bulk_create(
        SubAccount(provider=p, external_id=i, name=n[:200], account_id=accounts.get(i))
        for p, i, n in seen
        if (p, i) not in known
    )


def _write_statement(bill: Bill, one: dict[str, Any]) -> tuple[Statement, dict[str, Any]]:
    """Write a statement in the place of the one it corrects; gives it and the change, for the report."""
    key = {name: one[name] for name in ("provider", "billing_account", "currency", "period_start")}
    former = Statement.objects.filter(**key, is_current=True).select_for_update().first()
    if former is not None:
        former.is_current = False
        former.save()
        former.runs.filter(is_current=True).update(is_current=False)
    values = {**one, "billing_account_name": (one["billing_account_name"] or "")[:200]}
    made = Statement.objects.create(bill=bill, replaces=former, **values)
    before = former.billed if former else None
    return made, {
        "statement": made.pk,
        "former": former.pk if former else None,
        "lines": one["lines"] - (former.lines if former else 0),
        "billed": str(one["billed"] - (before or 0)),
    }
