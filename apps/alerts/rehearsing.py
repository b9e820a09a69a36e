"""What a recovery policy would have done: the rules of the real thing over alerts that are past."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

from django.db.models import Q
from django.utils import timezone

from .choices import at_least
from .limits import Done, Ledger
from .matching import condition
from .models import Alert, RecoveryPolicy
from .recovery import matches, policy_for

#: Alerts that a dry run looks at, and looks that it takes at most: what a storm left open for days is looked at again and again.
ALERTS, LOOKS = 20_000, 200_000


def past(policy: RecoveryPolicy, days: int = 30) -> list[Alert]:
    """The alerts of the last days that a dry run looks at, oldest first: the newest ALERTS of those that it names."""
    named = condition(
        name=policy.alert_name, labels=policy.labels, account_id=policy.account_id, cell_id=policy.cell_id
    )
    wanted = named & Q(severity__in=at_least(policy.min_severity), instance__isnull=False)
    rows = Alert.objects.filter(wanted, opened_at__gte=timezone.now() - timedelta(days=days))
    return sorted(rows.order_by("-opened_at")[:ALERTS], key=lambda a: (a.opened_at, a.pk))


def would_have(policy: RecoveryPolicy, alerts: Sequence[Alert]) -> list[tuple[Alert, str]]:
    """A dry run over past alerts, oldest first: each with "" where it would have acted, else with what stood against it.

    An alert that was held is looked at again as soon as what held it is over, for as long as it was open. What another
    policy would have answered first is left out. One answer an alert: whether it would have helped, nobody knows, and so
    the breaker is left out too.
    """
    ledger, told, now = Ledger(), dict[int, str](), timezone.now()
    mine = _answered(policy, alerts)
    due: list[tuple[datetime, int]] = []
    for place, alert in enumerate(mine):
        at = alert.opened_at + timedelta(seconds=policy.delay)
        if at > (alert.resolved_at or now):
            told[place] = f"resolved by itself within {policy.delay} s"
            if alert.resolved_at is None:
                told[place] = f"not open for {policy.delay} s yet"
        else:
            due.append((at, place))
    heapify(due)
    looks = LOOKS
    while due:
        at, place = heappop(due)
        alert, looks = mine[place], looks - 1
        where = {"instance_id": alert.instance_id, "cell_id": alert.cell_id}
        why = ledger.objection(policy, **where, at=at)
        if not why:
            ledger.add(Done(at, alert.instance_id, alert.cell_id, policy.pk))
        elif looks > 0 and (again := ledger.again_at(policy, **where, at=at)) <= (alert.resolved_at or now):
            heappush(due, (again, place))
        told[place] = why
    return [(alert, told[place]) for place, alert in enumerate(mine)]


def _answered(policy: RecoveryPolicy, alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts that this policy answers, were it on: those that fit it and no other that is asked first."""
    order = (policy.rank, policy.pk or 0)
    rows = RecoveryPolicy.objects.filter(is_enabled=True, rank__lte=policy.rank).exclude(pk=policy.pk)
    before = [p for p in rows.order_by("rank", "pk") if not policy.pk or (p.rank, p.pk) < order]
    return [a for a in alerts if matches(policy, a) and policy_for(before, a) is None]
