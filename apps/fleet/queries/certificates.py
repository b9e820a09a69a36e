"""The report over certificates, and how they are listed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from apps.access.scoping import visible

from ..certificates import judging
from ..models import Certificate, RenewalPolicy

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
    """The certificates of the instances that `user` sees."""
    return visible(user, Certificate.objects.select_related("instance__cell__region__account"))


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
        stage = judging.stage(row.not_after, timezone.now())
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
