"""Leaving: everything that somebody holds ends at once, in one transaction, whoever says so (the directory, the admin)."""

from typing import Any

from allauth.usersessions.models import UserSession
from django.db import transaction
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import lockout, services
from .choices import RequestState
from .models import AccessRequest, ApiToken, Grant, PreApproval, User


def leave(person: User, *, actor: Any, reason: str) -> None:
    """Deactivate somebody: sessions, API tokens, grants, groups, requests and the standing pre-approvals they gave end.

    Their password goes too, so that neither it nor a session, a sign-in link or a reset begun before serves them
    should they come back. What they asked the fleet for and has not begun is refused at its start, as for anybody who
    may no longer. Raises lockout.LastManager for the last who manages access; nothing is changed then.
    """
    with transaction.atomic(), acting(actor, reason=reason), lockout.somebody_remains():
        locked = User.objects.select_for_update().get(pk=person.pk)
        locked.is_active = False
        locked.set_unusable_password()
        locked.save()
        for session in UserSession.objects.filter(user=locked):
            session.end()
        for token in ApiToken.objects.filter(owner=locked, revoked_at__isnull=True):
            token.revoked_at = timezone.now()
            token.save()
        for request in AccessRequest.objects.filter(person=locked, state=RequestState.WAITING):
            request.state, request.ended_at = RequestState.WITHDRAWN, timezone.now()
            request.save()
        for grant in Grant.objects.filter(user=locked).select_related("user", "scope"):
            services.take_grant(grant, actor=actor, reason=reason)
        for standing in PreApproval.objects.filter(given_by=locked):
            standing.delete()
        locked.groups.clear()
        record([event("person.left", f"{locked} has left: all access has ended", why=reason, tone=Tone.WARN)])
    person.is_active, person.password = False, locked.password
