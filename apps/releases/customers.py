"""Telling customers: notices are drafted for each tenant of a rollout, sent when a person says so, and kept.

A hold that was overridden is told to its tenant at once; that needs no further order.
"""

from collections.abc import Mapping
from string import Formatter
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.access import notices as letters
from apps.access.choices import Permission
from apps.access.scoping import require
from apps.access.services import system_actor
from apps.core.arrays import among
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.services import Refused
from apps.tenants import writing
from apps.tenants.models import Contact, Tenant

from .choices import UNENDED, NoticeState, RolloutState, TargetState
from .models import CustomerNotice, Hold, Rollout
from .planning import tenants_of
from .services import given_reason

#: Notices that one pass of the tick sends.
AT_ONCE = 200
#: States in which drafts may be sent: what they announce comes, or came.
ANNOUNCED = (RolloutState.DRAFT, RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.SUCCEEDED)
SUBJECT = "{tenant}: an update to version {version}"
BODY = """Dear {tenant},

we will update your service to version {version}. You need not do anything.

{when}
"""


def addresses_of(tenant_ids: list[int]) -> dict[int, list[str]]:
    """Whom to write to, by tenant: technical and security contacts, else owners, else anybody. One query."""
    found = writing.readers(Contact.objects.filter(tenant_id__in=among(tenant_ids)))
    return {tenant: [one.email for one in some] for tenant, some in found.items()}


def draft_notices(rollout: Rollout, *, subject: str, body: str, actor: Any, reason: str) -> int:
    """Draft a notice to each tenant that a rollout touches, in place of drafts there are; gives how many.

    `{tenant}`, `{version}` and `{when}` in the text are filled in for each. Raises Refused for another brace.
    """
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    if rollout.state not in UNENDED:
        raise Refused("The rollout has ended; there is nothing to announce any more.")
    tenants = _tenants(rollout)
    if not tenants:
        raise Refused("No tenant is on its instances.")
    when = _when(rollout)
    rows = [
        CustomerNotice(
            tenant=tenant, rollout=rollout, written_by=actor,
            subject=_filled(subject, tenant=tenant.name, version=rollout.release.version, when=when)[:200],
            body=_filled(body, tenant=tenant.name, version=rollout.release.version, when=when),
        )
        for tenant in tenants
    ]  # fmt: skip
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        Rollout.objects.select_for_update().get(pk=rollout.pk)
        CustomerNotice.objects.filter(rollout=rollout, state=NoticeState.DRAFT).delete()
        told = set(CustomerNotice.objects.filter(rollout=rollout).values_list("tenant_id", flat=True))
        rows = [row for row in rows if row.tenant_id not in told]
        CustomerNotice.objects.bulk_create(rows, batch_size=2_000)
        title = f"Rollout #{rollout.pk}: {len(rows):,} customer notices were drafted"
        record([event("rollout.notices_drafted", title)])
    return len(rows)


def _tenants(rollout: Rollout) -> list[Tenant]:
    touched = rollout.targets.exclude(state=TargetState.EXCLUDED)
    placed = tenants_of(list(touched.values_list("instance_id", flat=True)))
    ids = {tenant for tenants in placed.values() for tenant in tenants}
    return list(Tenant.objects.filter(pk__in=among(ids)).order_by("pk"))


def _when(rollout: Rollout) -> str:
    if rollout.start_at:
        return f"It begins at {rollout.start_at:%Y-%m-%d %H:%M} UTC; where you have a maintenance window, it waits for that."
    return "Where you have a maintenance window, it waits for that."


def _filled(text: str, **words: str) -> str:
    try:
        parts = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
        # As they are: a width could be of any size.
        if all(field in words and not spec and not conversion for field, spec, conversion in parts):
            return text.format_map(words)
    except ValueError:
        pass
    raise Refused("The text may hold {tenant}, {version} and {when}; write any other brace twice.")


def send_notices(rollout: Rollout, *, actor: Any, reason: str) -> int:
    """Have the drafts of a rollout sent; gives how many. The tick does it, some hundred at a time.

    Raises Refused where there is none, or what they announce does not come.
    """
    require(actor, Permission.ROLL_OUT, rollout)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        state = Rollout.objects.select_for_update().values_list("state", flat=True).get(pk=rollout.pk)
        if state not in ANNOUNCED:
            raise Refused(
                f"The rollout is {RolloutState(state).label.lower()}: what does not come is not announced."
            )
        drafts = CustomerNotice.objects.filter(rollout=rollout, state=NoticeState.DRAFT)
        count: int = drafts.update(state=NoticeState.QUEUED, sent_by=actor, why="")
        if not count:
            raise Refused("There is no draft to send.")
        title = f"Rollout #{rollout.pk}: {count:,} customer notices are sent"
        record([event("rollout.notices_sent", title)])
    return count


def mark_told(notice: CustomerNotice, *, actor: Any, reason: str) -> None:
    """Keep that somebody told the tenant by another way; `reason` says how."""
    require(actor, Permission.ROLL_OUT, notice.tenant)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        rows = CustomerNotice.objects.filter(pk=notice.pk, state=NoticeState.DRAFT)
        moved = rows.update(state=NoticeState.TOLD, why=reason[:300], sent_by=actor, sent_at=timezone.now())
        if not moved:
            raise Refused("It was sent or told already.")
        title = f"{notice.tenant} was told: {notice.subject}"
        record([event("customer.told", title, why=reason, tenant_id=notice.tenant_id)])


def send_queued() -> int:
    """Write the letters of notices that are to be sent; one without an address becomes a draft again. Gives how many."""
    with transaction.atomic(durable=True), acting(system_actor("rollout"), reason="sends customer notices"):
        rows = CustomerNotice.objects.select_for_update(skip_locked=True, of=("self",))
        queued = list(rows.filter(state=NoticeState.QUEUED).select_related("tenant").order_by("id")[:AT_ONCE])
        known = addresses_of([notice.tenant_id for notice in queued])
        for notice in queued:
            _send(notice, known)
    return len(queued)


def _send(notice: CustomerNotice, known: Mapping[int, list[str]]) -> None:
    notice.addresses = known.get(notice.tenant_id, [])
    if notice.addresses:
        notice.state, notice.sent_at, notice.why = NoticeState.SENT, timezone.now(), ""
        for address in notice.addresses:
            letters.write([], notice.subject, notice.body, address=address)
        words, tone = f"was written to: {notice.subject}", Tone.PLAIN
    else:
        notice.state, notice.why = NoticeState.DRAFT, "the tenant has no contact: tell it by another way"
        words, tone = f"has no contact to write to: {notice.subject}", Tone.WARN
    notice.save()
    title = f"{notice.tenant} {words}"
    record(
        [
            event(
                "customer.notice",
                title,
                tone=tone,
                why=", ".join(notice.addresses),
                tenant_id=notice.tenant_id,
            )
        ]
    )


def tell_overridden(hold: Hold, *, actor: Any) -> CustomerNotice:
    """Tell a tenant that its hold was overridden, and why; the caller holds a transaction and acts."""
    held = f"pinned to version {hold.version}" if hold.version else "left alone by updates"
    notice = CustomerNotice(
        tenant=hold.tenant,
        hold=hold,
        subject=f"{hold.tenant}: an update is necessary before {hold.until:%Y-%m-%d}",
        body=f"Dear {hold.tenant},\n\nyou were to be {held} until {hold.until:%Y-%m-%d %H:%M} UTC ({hold.reason}).\n\n"
        f"We have to update your service before that: {hold.override_reason}\n",
        written_by=actor,
        sent_by=actor,
    )
    notice.full_clean(exclude=["hold"])
    _send(notice, addresses_of([hold.tenant_id]))
    return notice
