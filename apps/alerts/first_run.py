"""Somebody on call, somebody told, and a recovery that shows what it would do."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.access.choices import UserKind
from apps.access.models import User

from .choices import Remedy
from .managing import save_escalation, save_recovery, save_schedule
from .models import EscalationPolicy, EscalationStep, OnCallSchedule, RecoveryPolicy
from .runbooks.keeping import take_over_library

LAST = 1000  # behind whatever people make
ON_CALL = ("olga", "admin", "axel")


def lay_out(actor: Any) -> None:
    """A week's rotation, an escalation to it, a restart in dry run, the runbooks. Leaves what is there already."""
    take_over_library()
    if not OnCallSchedule.objects.exists():
        found = {u.username: u for u in User.objects.filter(username__in=ON_CALL, kind=UserKind.PERSON)}
        # The Monday before the last handover, so that somebody is on call on a Monday before nine too.
        day = timezone.now().date() - timedelta(days=1)
        monday = day - timedelta(days=day.weekday())
        save_schedule(
            OnCallSchedule(name="Operations", starts_on=monday),
            people=[found[name] for name in ON_CALL if name in found],
            actor=actor,
        )
    if not EscalationPolicy.objects.exists():
        operations = OnCallSchedule.objects.order_by("pk").first()
        save_escalation(
            EscalationPolicy(name="Whoever is on call", rank=LAST),
            steps=[EscalationStep(schedule=operations)],
            actor=actor,
        )
    if not RecoveryPolicy.objects.exists():
        save_recovery(
            RecoveryPolicy(
                name="Restart what fails", remedy=Remedy.RESTART, rank=LAST, delay=30, is_dry_run=True
            ),
            actor=actor,
        )
