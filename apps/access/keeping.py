"""What the clock does about access: grants that have run out are taken away and told, letters are sent.

A grant does not wait for this to end: every check compares its end with the clock. This only cleans up and tells.
"""

from django.db import transaction
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import notices, services
from .choices import RequestState
from .models import AccessRequest, BreakGlass, Grant
from .telling import context_of_scope

#: Grants that one round ends; the next round takes the others.
MOST = 500


def keep() -> None:
    """One round."""
    end_due()
    notices.send_due()


def end_due() -> int:
    """Take away the grants whose end has passed, with an event and a letter to each holder; gives how many."""
    actor = services.system_actor("access")
    with transaction.atomic(), acting(actor, reason="its time is over", via="system"):
        rows = Grant.objects.select_for_update(skip_locked=True, of=("self",))
        due = list(
            rows.filter(until__lte=timezone.now())
            .select_related("user", "group", "role", "scope")
            .order_by("until")[:MOST]
        )
        for grant in due:
            _end(grant)
    return len(due)


def _end(grant: Grant) -> None:
    reference, until = grant.pk, grant.until
    holder = grant.user or grant.group
    assert holder is not None  # noqa: S101 - the constraint grant_to_one_holder says so
    grant.delete()
    services.sync_permissions(holder, grant.scope)
    for request in AccessRequest.objects.filter(grant_ref=reference, state=RequestState.GRANTED):
        request.state, request.ended_at = RequestState.ENDED, until
        request.save()
    for glass in BreakGlass.objects.filter(grant_ref=reference, ended_at__isnull=True):
        glass.ended_at = until
        glass.save()
    words = f"{holder} is no longer {grant.role} on {grant.scope}: its time is over"
    record([event("access.ended", words, tone=Tone.PLAIN, **context_of_scope(grant.scope))])
    if grant.user:
        notices.write(
            [grant.user],
            f"Your access has ended: {grant.role} on {grant.scope}",
            f"It ended at {until:%Y-%m-%d %H:%M:%S} UTC, as it was given. Ask again on “My access” if you need it.",
        )
