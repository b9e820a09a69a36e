"""The report over certificates, and how they are listed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from apps.access.scoping import visible
from apps.core.enriching import EnrichedQuerySet

from ..certificates import judging
from ..models import AcmeOrder, Certificate, CertificateIssuer, RenewalPolicy
from .instances import add_tenants

#: By its word in the address: what a certificate can have that somebody has to look at.
PROBLEMS = {
    "expired": "Expired",
    "1": "Ends within 1 day",
    "7": "Ends within 7 days",
    "30": "Ends within 30 days",
    "weak": "Weak key",
    "mismatched": "Wrong name",
    "unseen": "Not seen",
}


#: By its word in the address: who issued it.
ISSUERS = {"internal": "Internal authority", "acme": "ACME issuer", "other": "Another"}


def with_issuer(word: str) -> Q:
    """The rows that such a one issued."""
    match word:
        case "internal":
            return Q(is_ours=True, issued_by__isnull=True)
        case "acme":
            return Q(issued_by__isnull=False)
    return Q(is_ours=False)


def with_problem(problem: str) -> Q:
    """The rows that have a problem."""
    now = timezone.now()
    match problem:
        case "expired":
            return Q(not_after__lte=now)
        case "weak":
            return Q(is_weak=True)
        case "mismatched":
            return Q(is_mismatched=True)
        case "unseen":
            return ~Q(error="")
    return Q(not_after__gt=now, not_after__lte=now + timedelta(days=int(problem)))


def listed(user: Any) -> QuerySet[Certificate]:
    """The certificates of the instances that `user` sees, with the tenants that those serve."""
    rows: EnrichedQuerySet[Certificate] = EnrichedQuerySet(Certificate)
    placed = rows.select_related("instance__cell__region__account", "issued_by")
    return visible(user, placed.enriched_by(lambda found: add_tenants(user, [row.instance for row in found])))


@dataclass(frozen=True, slots=True)
class Count_:
    """How many have a problem."""

    word: str
    label: str
    number: int


def report(user: Any) -> list[Count_]:
    """How many certificates have which problem. One query."""
    counts = (
        visible(user, Certificate)
        .order_by()
        .aggregate(**{f"n_{word}": Count("pk", filter=with_problem(word)) for word in PROBLEMS})
    )
    return [Count_(word, label, counts[f"n_{word}"]) for word, label in PROBLEMS.items()]


def problems_of(row: Certificate) -> list[tuple[str, str]]:
    """What is to be said of one: (tone, words), the worst first."""
    found: list[tuple[str, str]] = []
    if row.not_after is not None:
        stage = judging.stage(row.not_after, timezone.now(), row.not_before)
        if stage is not None:
            tone = "bad" if stage <= 1 else "warn" if stage <= 7 else "idle"
            found.append((tone, "expired" if stage == 0 else f"within {stage} day{'s' if stage > 1 else ''}"))
    if row.is_mismatched:
        found.append(("bad", "wrong name"))
    if row.is_weak:
        found.append(("warn", judging.weakness(row.key)))
    if row.error:
        found.append(("warn", "not seen"))
    return found


def policies(user: Any) -> list[RenewalPolicy]:
    """The renewal policies that `user` sees."""
    return list(visible(user, RenewalPolicy.objects.select_related("account")))


def issuers(user: Any) -> list[CertificateIssuer]:
    """The issuers that `user` sees."""
    return list(visible(user, CertificateIssuer.objects.select_related("account", "cell")))


def orders(user: Any, issuer: CertificateIssuer, limit: int = 20) -> list[AcmeOrder]:
    """The last orders of an issuer for instances that `user` sees."""
    return list(visible(user, issuer.orders.select_related("instance"))[:limit])


def issued_by(row: Certificate) -> str:
    """Who issued it, in a word where it was issued here."""
    if row.issued_by is not None:
        return f"{row.issued_by} (ACME)"
    return "internal authority" if row.is_ours else row.issuer
