"""Drafts of what the affected customers are told: facts filled in, nothing promised that nobody knows."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.core.choices import Tone
from apps.core.context import acting
from apps.tenants import writing
from apps.tenants.models import Contact

from .choices import NoticeStage, Severity
from .models import CustomerNotice, Incident
from .queries import IncidentPage
from .telling import of_incident, tell

SHOWN = 200
WORDS = {
    NoticeStage.INVESTIGATING: "We are investigating what causes it. We will write again within the hour, or as soon as we know more.",
    NoticeStage.IDENTIFIED: "We know the cause and are mending it. We will write again within the hour, or as soon as it is mended.",
    NoticeStage.MONITORING: "It is mended. We are watching whether it stays so, and will write once more.",
    NoticeStage.RESOLVED: "It is over, and your service works as usual. We are sorry for the trouble that this caused you.",
}  # fmt: skip
HOW_BAD = {
    Severity.CRITICAL: "Parts of your service may not be available.",
    Severity.WARNING: "Your service may be slower than usual, or answer some requests with an error.",
    Severity.INFO: "You may not notice it.",
}


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact of an affected tenant."""

    tenant: str
    name: str
    email: str


def draft(page: IncidentPage, stage: str) -> CustomerNotice:
    """A text from what is known, not saved. It names no other customer, no host, no person."""
    i = page.incident
    subject = f"{NoticeStage(stage).label}: disturbance of your service since {i.opened_at:%H:%M} UTC"
    times = [f"Began: {i.opened_at:%Y-%m-%d %H:%M} UTC"]
    if i.resolved_at:
        minutes = max(1, round(page.duration.total_seconds() / 60))
        times.append(f"Ended: {i.resolved_at:%Y-%m-%d %H:%M} UTC, after {minutes} minutes")
    was = "There was" if i.resolved_at else "There is"
    lines = [
        "Dear customer,", "", f"{was} a disturbance that affects your service. {HOW_BAD[Severity(i.severity)]}", "",
        *times, "", WORDS[NoticeStage(stage)], "", f"Reference: incident {i.pk}",
    ]  # fmt: skip
    return CustomerNotice(incident=i, stage=stage, subject=subject, body="\n".join(lines))


def recipients(user: Any, page: IncidentPage) -> list[Recipient]:
    """The contacts of the affected tenants that `user` sees, by the one rule of `tenants.writing`. One query."""
    ids = [tenant.pk for tenant in page.tenants]
    found = writing.readers(visible(user, Contact).filter(tenant_id__in=ids).select_related("tenant"))
    rows = sorted((c for some in found.values() for c in some), key=lambda c: (c.tenant.name, c.name))
    return [Recipient(c.tenant.name, c.name, c.email) for c in rows]


def keep(incident: Incident, *, stage: str, subject: str, body: str, actor: Any) -> CustomerNotice:
    """Keep a draft, and say on the timeline that there is one. Raises Http404, PermissionDenied, ValidationError."""
    require(actor, Permission.ACKNOWLEDGE, incident)
    notice = CustomerNotice(
        incident=incident, stage=stage, subject=" ".join(subject.split()), body=body.replace("\r\n", "\n"), author=actor
    )  # fmt: skip
    notice.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"drafts a notice of incident {incident.pk}"):
        notice.save()
        tell(
            [
                of_incident(
                    incident, "notice", f"{actor} drafted a customer notice", why=notice.subject, actor=actor,
                    tone=Tone.PLAIN,
                )
            ]
        )  # fmt: skip
    return notice
