"""Who speaks SCIM: an API token, the person who answers for it, and how far both reach.

A client acts as `system:scim`, and each entry names its token. It reaches people, never superusers, emergency accounts,
the system's own actors, or the person who answers for it; and what it gives, or makes somebody into, stays within what
its token was allowed to give and what that person holds now.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.core.context import acting

from .. import granting, hands, lockout, services
from ..choices import NEVER_PROVISIONED, Permission, ScopeKind, UserKind
from ..models import ApiToken, PreApproval, Role, User
from .errors import beyond

#: People whom no directory touches.
KEPT = Q(is_superuser=True) | Q(is_emergency=True) | ~Q(kind=UserKind.PERSON)


@dataclass(frozen=True, slots=True)
class Client:
    """One call's client."""

    token: ApiToken

    @property
    def answers(self) -> User:
        """Who answers for the token, with all that they hold and not only what the token may."""
        whole = copy(self.token.owner)
        for kept in ("_only", "_scopes"):
            whole.__dict__.pop(kept, None)
        return whole

    @property
    def may_give(self) -> frozenset[str]:
        return frozenset(self.token.may_give) - NEVER_PROVISIONED

    def people(self) -> QuerySet[User]:
        """Whom it reaches."""
        rows: QuerySet[User] = User.objects.exclude(KEPT).exclude(pk=self.token.owner_id)
        return rows

    def reason(self, what: str) -> str:
        """What stands in the trail beside each change."""
        return f"{what}, by the directory with the token {self.token} of {self.token.owner}"

    def note(self, how: str, people: Collection[int], what: str, *, group: int | None = None) -> None:
        """What the two-person rule has to know: who answers for the token had a hand in it."""
        owner = self.token.owner
        hands.note(
            by=owner, how=how, people=people, group=group, words=f"{owner}'s token {self.token} {what}"
        )

    @contextmanager
    def writing(self, what: str) -> Iterator[User]:
        """One transaction, one writer at a time, as `system:scim`. Raises ScimError for the last who manages access."""
        actor = services.system_actor("scim")
        try:
            with transaction.atomic(durable=True), acting(actor, reason=self.reason(what), via="scim"):
                services.scope_for(ScopeKind.EVERYTHING)  # what `somebody_remains` waits at
                with lockout.somebody_remains():
                    yield actor
        except lockout.LastManager as error:
            raise beyond(str(error)) from error

    def check_may_fill(self, groups: Collection[Group]) -> None:
        """Pass, or raise ScimError 403 where one of them allows more than the client may give."""
        for group in groups:
            given = Q(grants__group=group) | Q(pk__in=PreApproval.objects.filter(group=group).values("role"))
            self._check(f"the group {group}", _allowed_by(given))
            try:
                granting.check_may_join(self.answers, group)
            except (PermissionDenied, granting.NotGiven) as error:
                raise beyond(
                    f"{self.token.owner}, who answers for this token, may not fill {group}: {error}"
                ) from error

    def check_may_be(self, person: User) -> None:
        """Pass, or raise ScimError 403 for who may do more, or for longer, than the client may give: to name them anew is to be them."""
        standing = Q(grants__until__isnull=True) | Q(grants__until__gt=timezone.now())
        held = Q(grants__user=person) | Q(grants__group__user=person)
        promised = Q(pk__in=PreApproval.objects.filter(group__user=person).values("role"))
        self._check(str(person), _allowed_by(held & standing) | _allowed_by(promised))
        if granting.holds_more(person, self.answers, counts_ends=True):
            raise beyond(
                f"{person} may do more than {self.token.owner}, who answers for this token, or for longer."
            )

    def _check(self, whose: str, allowed: frozenset[str]) -> None:
        if lacking := sorted(Permission(code).label for code in allowed - self.may_give):
            raise beyond(f"This token may not give what {whose} may do: {', '.join(lacking)}.")


def _allowed_by(roles: Q) -> frozenset[str]:
    found: Any = Role.objects.filter(roles).values_list("permissions", flat=True)
    return frozenset(code for permissions in found for code in permissions)
