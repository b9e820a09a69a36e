"""What the tenants' pages read."""

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import JSONObject
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone

from apps.access.choices import CHANGING, Permission, ScopeKind
from apps.access.models import Grant, User
from apps.access.scoped import Reader, scoped
from apps.access.scoping import allowed, visible
from apps.core.arrays import MomentBeside
from apps.core.compiled import compiled, one_of
from apps.core.enriching import EnrichedQuerySet
from apps.core.models import Event
from apps.core.slots import Notice
from apps.operations import queries as operations
from apps.operations.choices import OPEN, State
from apps.operations.models import Operation

from . import panels, search
from .choices import ContactRole
from .models import Contact, Domain, ExternalId, Subscription, Tenant

#: Rows of a timeline on a page of its own, and of the short one beside other things.
EVENTS, FEW = 100, 12
#: Instances on a tenant's page.
MANY = 25


# --- The list ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What a line of the list shows beside the tenant's own columns."""

    plan: str = ""
    price: Decimal | None = None
    currency: str = ""
    domain: str = ""
    standing: panels.Standing | None = None


def listed(user: Any) -> QuerySet[Tenant]:
    """The tenants a user sees; each row that is fetched has its `facts`."""
    rows: EnrichedQuerySet[Tenant] = EnrichedQuerySet(Tenant)
    return visible(user, rows.defer("notes").enriched_by(partial(_add_facts, user)))


def _add_facts(user: Any, rows: Sequence[Any]) -> None:
    """Three queries, however many rows."""
    ids = [row.pk for row in rows]
    standings = panels.standings(user, ids)
    domains = dict(Domain.objects.filter(tenant_id__in=ids, is_primary=True).values_list("tenant_id", "name"))
    bought = {subscription.tenant_id: subscription for subscription in _open_subscriptions(ids)}
    for row in rows:
        mine = bought.get(row.pk)
        row.facts = Facts(
            plan=mine.plan.name if mine else "",
            price=mine.monthly_price if mine else None,
            currency=mine.currency if mine else "",
            domain=domains.get(row.pk, ""),
            standing=standings.get(row.pk),
        )


def _open_subscriptions(tenant_ids: Collection[int]) -> QuerySet[Subscription]:
    return Subscription.objects.filter(tenant_id__in=tenant_ids, ends_on__isnull=True).select_related("plan")


def with_text(rows: QuerySet[Tenant], text: str) -> QuerySet[Tenant]:
    """Tenants whose name, key or a domain holds the text; each of the three by its index."""
    found = Tenant.objects.filter(name__icontains=text).order_by().values("pk")
    return rows.filter(
        pk__in=found.union(
            Tenant.objects.filter(key__icontains=text).order_by().values("pk"),
            Domain.objects.filter(name__icontains=text).order_by().values("tenant_id"),
            all=True,
        )
    )


# --- One tenant ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One operation, and its kind in words."""

    operation: Operation
    kind: str


@dataclass(frozen=True, slots=True)
class ServedLine:
    """One instance, and the operation that is under way on it."""

    instance: panels.Served
    running: Line | None


@dataclass(frozen=True, slots=True)
class TenantPage:
    """All that the page of one tenant shows; `served` are the first of `total`."""

    tenant: Tenant
    subscriptions: Sequence[Subscription]
    standing: panels.Standing | None
    served: Sequence[ServedLine]
    total: int
    operations: Sequence[Line]
    events: Sequence[Event]
    may_see_access: bool
    contacts: Sequence[Contact]
    domains: Sequence[Domain]
    external_ids: Sequence[ExternalId]
    notices: Sequence[Notice] = ()
    facts: Sequence[panels.Fact] = ()

    @property
    def subscription(self) -> Subscription | None:
        """The open one."""
        return next((one for one in self.subscriptions if one.ends_on is None), None)

    @property
    def more(self) -> int:
        """How many instances are not shown."""
        return self.total - len(self.served)


def find(user: Any, pk: int) -> Tenant:
    """The tenant; Http404 for one that the user cannot see."""
    return get_object_or_404(visible(user, Tenant), pk=pk)


def tenant_page(user: Any, pk: int) -> TenantPage:
    """The page of one tenant; Http404 for one that the user cannot see."""
    found = _tenant(user, pk=pk)
    if not found:
        raise Http404("No such tenant.")
    (tenant,) = found
    people = [Contact(tenant=tenant, **one) for one in tenant.people]
    served = panels.placements(user, [pk]).get(pk, ())
    lines = operations_of(user, served)
    return TenantPage(
        tenant=tenant,
        subscriptions=_subscriptions(tenant=pk),
        standing=panels.standing_of(served),
        served=_lines(served, lines),
        total=len(served),
        operations=lines,
        events=events_of(user, tenant, served, limit=FEW),
        may_see_access=may_see_access(user, tenant),
        contacts=sorted(people, key=lambda one: ContactRole.values.index(one.role)),
        domains=[Domain(tenant=tenant, **one) for one in tenant.reached_at],
        external_ids=[ExternalId(tenant=tenant, **one) for one in tenant.known_as],
        notices=panels.notices(user, [pk]).get(pk, ()),
        facts=panels.facts(user, [pk]).get(pk, ()),
    )


@scoped
def _tenant(reader: Reader, *, pk: Any) -> QuerySet[Any]:
    # With the tenant come its people and names: three queries less on the page that has the most of them.
    rows: QuerySet[Any] = Tenant.objects.annotate(
        known_as=_parts(ExternalId, "system", "value"),
        reached_at=_parts(Domain, "-is_primary", "name"),
        people=_parts(Contact, "role", "name", "email"),
    )
    return visible(reader, rows).filter(pk=pk)


@compiled
def _subscriptions(*, tenant: Any) -> QuerySet[Subscription]:
    return Subscription.objects.filter(tenant_id=tenant).select_related("plan")


def _parts(model: type[Contact] | type[Domain] | type[ExternalId], *columns: str) -> ArraySubquery:
    """A tenant's rows of a model as an array of objects with these columns, in the order of the columns."""
    rows: QuerySet[Any] = model._default_manager.filter(tenant_id=OuterRef("pk")).order_by(*columns)
    names = [column.removeprefix("-") for column in columns]
    return ArraySubquery(rows.values(found=JSONObject(**{name: name for name in names})))


def operations_of(user: Any, served: Sequence[panels.Served]) -> list[Line]:
    """The open operations on what serves a tenant, then the last ones that ended; FEW in all."""
    found = _newest_on(user, ids=[one.instance_id for one in served]) if served else []
    found.sort(key=lambda operation: (operation.state not in OPEN, -operation.pk))
    return [Line(operation, operations.kind_label(operation.kind)) for operation in found]


@scoped
def _newest_on(reader: Reader, *, ids: Any) -> QuerySet[Operation]:
    rows = Operation.objects.filter(target_type="instance", target_id=one_of(ids)).select_related("actor")
    return visible(reader, rows).defer("notes").order_by("-id")[:FEW]


def _lines(served: Sequence[panels.Served], lines: Sequence[Line]) -> list[ServedLine]:
    """The first instances, each with the operation that is under way on it."""
    busy = {line.operation.target_id: line for line in lines if line.operation.state == State.RUNNING}
    return [ServedLine(one, busy.get(one.instance_id)) for one in served[:MANY]]


def events_of(
    user: Any, tenant: Tenant, served: Sequence[panels.Served], *, limit: int, before: int | None = None
) -> list[Event]:
    """What happened to the tenant, and to each of its instances since it is there; newest first.

    Two queries, each by its own index: one over both would read the events of everybody. What happened to
    another tenant of a shared instance is not told.
    """
    before = search.LARGEST_ID if before is None else before - 1
    own = _own_events(user, limit, tenant=tenant.pk, before=before)
    there = {one.instance_id: one.since for one in served}
    around = (
        _events_around(user, limit, ids=list(there), since=list(there.values()), before=before)
        if there
        else ()
    )
    return list(heapq.merge(own, around, key=_age))[:limit]


@scoped
def _own_events(reader: Reader, limit: int, *, tenant: Any, before: Any) -> QuerySet[Event]:
    rows = visible(reader, Event).filter(tenant_id=tenant, pk__lte=before)
    return rows.select_related("actor").order_by("-at", "-id")[:limit]


@scoped
def _events_around(reader: Reader, limit: int, *, ids: Any, since: Any, before: Any) -> QuerySet[Event]:
    there = Q(instance_id=one_of(ids), at__gte=MomentBeside("instance_id", ids, since))
    rows = visible(reader, Event).filter(there, tenant_id__isnull=True, pk__lte=before)
    return rows.select_related("actor").order_by("-at", "-id")[:limit]


def _age(event: Event) -> tuple[float, int]:
    return -event.at.timestamp(), -event.pk


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """A tenant's whole timeline, `before` a given event; `older` is where the next page starts."""

    tenant: Tenant
    subscription: Subscription | None
    standing: panels.Standing | None
    events: Sequence[Event]
    older: int | None
    may_see_access: bool


def timeline_page(user: Any, pk: int, *, before: int | None) -> TimelinePage:
    """One page of the timeline."""
    tenant = find(user, pk)
    served = panels.placements(user, [pk]).get(pk, ())
    events = events_of(user, tenant, served, limit=EVENTS + 1, before=before)
    older = events[EVENTS - 1].pk if len(events) > EVENTS else None
    return TimelinePage(
        tenant=tenant,
        subscription=_open_subscriptions([pk]).first(),
        standing=panels.standing_of(served),
        events=events[:EVENTS],
        older=older,
        may_see_access=may_see_access(user, tenant),
    )


# --- Who may touch it ----------------------------------------------------------------------------


def may_see_access(user: Any, tenant: Tenant) -> bool:
    """Whether the user may know who reaches the tenant."""
    return any(allowed(user, permission, tenant) for permission in SEES_ACCESS)


SEES_ACCESS = (Permission.MANAGE_ACCESS, Permission.SEE_AUDIT)


@dataclass(frozen=True, slots=True)
class Reach:
    """One way in which somebody reaches a tenant. `changes`: the role carries more than looking."""

    who: str
    role: str
    scope: str
    changes: bool
    until: Any = None
    reason: str = ""
    given_by: str = ""
    members: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class AccessPage:
    """Who reaches a tenant."""

    tenant: Tenant
    subscription: Subscription | None
    standing: panels.Standing | None
    reaches: Sequence[Reach]
    may_see_access: bool = True


def access_page(user: Any, pk: int) -> AccessPage:
    """Who may touch the tenant. Http404 out of scope; PermissionDenied without the right to know."""
    tenant = find(user, pk)
    if not may_see_access(user, tenant):
        raise PermissionDenied(
            "You need the permission “Read the audit trail” on this tenant; ask whoever manages access."
        )
    standing = panels.standings(user, [pk]).get(pk)
    return AccessPage(tenant, _open_subscriptions([pk]).first(), standing, reaches(tenant))


def reaches(tenant: Tenant) -> list[Reach]:
    """Everybody who may do something with the tenant now: by its own scope, by what serves it, by everything.

    The same whoever asks, so ask `may_see_access` first.
    """
    covering = Q(scope__kind=ScopeKind.EVERYTHING) | Q(
        scope__kind=ScopeKind.TENANT, scope__object_id=tenant.pk
    )
    for cover in panels.covers(None, [tenant.pk]).get(tenant.pk, ()):
        covering |= Q(scope__kind=cover.kind, scope__object_id=cover.object_id)
    members = Prefetch("group__user_set", User.objects.filter(is_active=True).order_by("username"))
    grants = (
        Grant.objects.filter(covering)
        .filter(Q(until__isnull=True) | Q(until__gt=timezone.now()))
        .filter(Q(user__isnull=True) | Q(user__is_active=True))
        .select_related("user", "group", "role", "scope", "given_by")
        .prefetch_related(members)
    )
    narrowest_first = [ScopeKind.TENANT, ScopeKind.CELL, ScopeKind.ACCOUNT, ScopeKind.EVERYTHING]
    found = sorted(grants, key=lambda grant: (narrowest_first.index(ScopeKind(grant.scope.kind)), str(grant)))
    superusers = User.objects.filter(is_superuser=True, is_active=True).order_by("username")
    return [_reach(grant) for grant in found] + [
        Reach(str(user), "superuser", "everything", True, reason="Set on the account itself.")
        for user in superusers
    ]


def _reach(grant: Grant) -> Reach:
    holder = grant.user or grant.group
    members = [str(user) for user in grant.group.user_set.all()] if grant.group else []
    return Reach(
        who=f"Group {holder}" if isinstance(holder, Group) else str(holder),
        role=grant.role.name,
        scope=str(grant.scope),
        changes=bool(CHANGING & set(grant.role.permissions)),
        until=grant.until,
        reason=grant.reason,
        given_by=str(grant.given_by),
        members=members,
    )


# --- Lookup --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One tenant found, and how it fares."""

    found: search.Found
    standing: panels.Standing | None


def answers(user: Any, text: str, *, limit: int) -> list[Answer]:
    """The tenants that the text may mean, best first, each with its health. At most three queries."""
    hits = search.lookup(user, text, limit=limit)
    standings = panels.standings(user, [hit.tenant_id for hit in hits])
    return [Answer(hit, standings.get(hit.tenant_id)) for hit in hits]
