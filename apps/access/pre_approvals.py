"""Standing pre-approvals: made and ended by who manages access there, within what they hold themselves."""

from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet

from apps.core.context import acting
from apps.core.events import event, record

from . import granting, scoping, services
from .choices import Permission
from .granting import NotGiven
from .models import PreApproval, Role
from .telling import context_of_scope, span


def manageable(user: Any) -> QuerySet[PreApproval]:
    """Those on what `user` manages the access of."""
    rows = PreApproval.objects.select_related("group", "role", "scope", "given_by")
    if scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything:
        return rows
    return rows.filter(granting.scopes_managed(user))


def make(
    *, actor: Any, group: Group, role: Role, kind: str, name: str, max_minutes: int, reason: str
) -> PreApproval:
    """A standing yes. Raises NotGiven for one's own group or one that is there; PermissionDenied for a role above one's own."""
    if group.user_set.filter(pk=actor.pk).exists():
        raise NotGiven("You are in this group: nobody approves for themselves. Ask a colleague.")
    obj = granting.find_object(actor, kind, name.strip())
    granting.check_may_give(actor, role, obj)
    granting.check_outlasts(actor, role.permissions, obj)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        scope = services.scope_for(kind, obj)
        if PreApproval.objects.filter(group=group, role=role, scope=scope).exists():
            raise NotGiven("There is one for this group, role and scope; end it first.")
        made = PreApproval.objects.create(
            group=group, role=role, scope=scope, max_minutes=max_minutes, given_by=actor, reason=reason
        )
        words = f"Those in {group} get {role} on {scope} for up to {span(max_minutes)} when they ask"
        record([event("access.pre_approved", words, **context_of_scope(scope))])
    return made


def end(standing: PreApproval, *, actor: Any, reason: str) -> None:
    """End a standing yes; what it has granted goes on to its own end.

    Raises PermissionDenied where `actor` does not manage access, NotGiven without a reason.
    """
    if not manageable(actor).filter(pk=standing.pk).exists():
        raise PermissionDenied(f"You do not manage access on {standing.scope}; ask a colleague who does.")
    if len(reason.strip()) < 3:
        raise NotGiven("Say why it ends, in a few words.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        record(
            [event("access.pre_approval_ended", f"No more: {standing}", **context_of_scope(standing.scope))]
        )
        standing.delete()
