"""The list of instances, and one instance as its page's header shows it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef, QuerySet
from django.http import Http404

from apps.access.choices import Permission
from apps.access.scoped import Reader, scoped
from apps.access.scoping import scopes_of, visible
from apps.core.enriching import EnrichedQuerySet
from apps.core.models import Event
from apps.core.slots import Link, Notice
from apps.operations import kinds
from apps.operations.choices import OPEN, State
from apps.operations.kinds import Kind
from apps.operations.models import Operation

from .. import notices
from ..choices import Health, Wanted
from ..models import Cell, Diagnostics, Instance, Placement

#: Ids in one statement when a whole list is exported.
AT_ONCE = 5_000
PLACEMENTS = 50
LAST_OPERATIONS = 6
TIMELINE = 50


def listed(user: Any) -> QuerySet[Instance]:
    """The instances a user sees, with where they are; tenants are looked up for the rows of the page alone."""
    rows: EnrichedQuerySet[Instance] = EnrichedQuerySet(model=Instance).select_related(
        "cell__region__account"
    )
    return visible(user, rows.enriched_by(lambda found: add_tenants(user, found)))


def add_tenants(user: Any, rows: Sequence[Any]) -> None:
    """Set `tenant_count` and, where it is one, `tenant_id` and `tenant_name` on instances: what `user` sees of them."""
    found: dict[int, tuple[int, int, str]] = {}
    for start in range(0, len(rows), AT_ONCE):
        ids = [row.pk for row in rows[start : start + AT_ONCE]]
        counted = (
            visible(user, Placement)
            .filter(instance_id__in=ids)
            .order_by()
            .values_list("instance_id")
            .annotate(n=Count("*"), only_id=Min("tenant_id"), only_name=Min("tenant__name"))
        )
        found.update({pk: (n, tenant, name) for pk, n, tenant, name in counted})
    for row in rows:
        row.tenant_count, tenant, name = found.get(row.pk, (0, 0, ""))
        row.tenant_id, row.tenant_name = (tenant, name) if row.tenant_count == 1 else (None, "")


# --- One instance --------------------------------------------------------------------------------


#: Kinds that an instance's page offers at once; the others stand in a menu.
USUAL = frozenset({"start", "stop", "restart", "deploy", "diagnose"})


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done to the instance; `why_not` says what stands against it now."""

    kind: Kind
    why_not: str = ""
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class OperationLine:
    """An operation in words: `step` is the one under way, number `position` of `steps`."""

    operation: Operation
    label: str
    step: str
    position: int
    steps: int

    @property
    def words(self) -> str:
        """What was asked for."""
        version = self.operation.params.get("version")
        return f"{self.label} {version}" if version else self.label

    @property
    def took(self) -> timedelta | None:
        """How long it ran."""
        o = self.operation
        return o.finished_at - o.started_at if o.finished_at and o.started_at else None


@dataclass(slots=True)
class InstanceHead:
    """What stands above the tabs, whichever is open, and what its live part shows."""

    instance: Instance
    may: frozenset[str]
    sees_cell: bool
    open: list[OperationLine] = field(default_factory=list)
    last: list[OperationLine] = field(default_factory=list)
    notices: Sequence[Notice] = ()
    links: Sequence[Link] = ()

    @property
    def locked(self) -> str:
        """Why nothing may change it, or ""."""
        return self.instance.locked_reason or self.instance.cell.locked_reason

    @property
    def is_changing(self) -> bool:
        return any(o.operation.state == State.RUNNING and o.operation.is_changing for o in self.open)

    @property
    def state(self) -> str:
        """Its health, or `changing` while an operation changes it."""
        return "changing" if self.is_changing else self.instance.health

    @property
    def actions(self) -> list[Action]:
        """What the reader may do to it, as fits: nothing that runs is started, nothing stopped is stopped."""
        is_down = self.instance.health == Health.STOPPED or self.instance.wanted == Wanted.STOPPED
        left_out = {"stop", "restart"} if is_down else {"start"}
        first = "start" if is_down else "restart"
        return [
            Action(kind, self.locked if kind.is_changing else "", kind.name == first)
            for kind in kinds.kinds("instance")
            if kind.permission in self.may and kind.name not in left_out
        ]

    @property
    def usual_actions(self) -> list[Action]:
        """Those that stand beside each other."""
        return [action for action in self.actions if action.kind.name in USUAL]

    @property
    def further_actions(self) -> list[Action]:
        """Those in the menu beside them."""
        return [action for action in self.actions if action.kind.name not in USUAL]

    @property
    def token(self) -> str:
        """Differs whenever the live part would."""
        i = self.instance
        parts: list[Any] = [
            i.health,
            i.health_detail,
            i.health_since,
            i.version,
            i.wanted,
            i.wanted_version,
            i.observed_at,
        ]
        parts += [i.endpoint, self.locked, sorted(self.may)]
        parts += [(o.operation.pk, o.operation.state, o.position, o.operation.attempts) for o in self.open]
        parts += [(o.operation.pk, o.operation.state) for o in self.last]
        parts += self.notices
        if (certificate := getattr(i, "certificate", None)) is not None:
            parts += [certificate.fingerprint, certificate.error, certificate.looked_at]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


#: Permissions that the page asks about, all in the query that reads the instance.
ASKED = (Permission.READ_LOGS, Permission.DIAGNOSE, Permission.RESTART, Permission.DEPLOY)


def instance_head(user: Any, pk: int) -> InstanceHead:
    """The instance and what is going on with it: three queries at most, and those of `notices` and `links`. Http404 for one that `user` cannot see."""
    found = _instance(user, pk=pk)
    if not found:
        raise Http404("No such instance.")
    (instance,) = found
    may = frozenset(_granted(user) | {p.value for p in ASKED if getattr(instance, f"may_{p.value}", False)})
    last = _last_operations(user, pk=pk)
    # With fewer than there is room for, those that are open are among them.
    under_way = (
        _open_operations(user, pk=pk)
        if len(last) == LAST_OPERATIONS
        else sorted((o for o in last if o.is_open), key=lambda o: o.pk)
    )
    return InstanceHead(
        instance,
        may,
        bool(getattr(instance, "sees_cell", True)),
        [line_of(o) for o in under_way],
        [line_of(o) for o in last],
        notices.of_instances(user, [pk]).get(pk, ()),
        notices.links(user, instance, may),
    )


def _granted(user: Any) -> set[str]:
    """The permissions asked about that whoever sees an instance holds on it, too."""
    view = scopes_of(user, Permission.VIEW)
    return {p.value for p in ASKED if scopes_of(user, p).covers(view)}


@scoped
def _instance(reader: Reader, *, pk: Any) -> QuerySet[Instance]:
    granted = _granted(reader)
    one = Instance.objects.filter(pk=OuterRef("pk"))
    asked = {
        f"may_{p.value}": Exists(visible(reader, one, p))
        for p in ASKED
        if p.value not in granted and scopes_of(reader, p)
    }
    # Else who sees the instance sees it by its cell or account.
    if scopes_of(reader, Permission.VIEW).tenants:
        asked["sees_cell"] = Exists(visible(reader, Cell.objects.filter(pk=OuterRef("cell_id"))))
    found = visible(
        reader, Instance.objects.select_related("cell__region__account", "certificate__issued_by")
    )
    return found.annotate(**asked).filter(pk=pk)


@scoped
def _last_operations(reader: Reader, *, pk: Any) -> QuerySet[Operation]:
    return _operations_on(reader, pk)[:LAST_OPERATIONS]


@scoped
def _open_operations(reader: Reader, *, pk: Any) -> QuerySet[Operation]:
    return _operations_on(reader, pk).filter(state__in=OPEN).order_by("id")[:LAST_OPERATIONS]


def operations_on(user: Any, instance: Instance) -> QuerySet[Operation]:
    """The operations on an instance that `user` sees, newest first."""
    return _operations_on(user, instance.pk)


def _operations_on(user: Any, pk: Any) -> QuerySet[Operation]:
    rows = Operation.objects.filter(target_type="instance", target_id=pk)
    return visible(user, rows.select_related("actor").defer("notes")).order_by("-id")


def line_of(operation: Operation) -> OperationLine:
    """The operation in words; of a kind that no app registers any more, what is known."""
    try:
        kind = kinds.find_kind(operation.kind)
    except LookupError:
        return OperationLine(operation, operation.kind, "", operation.step + 1, operation.step + 1)
    steps = kind.steps_of(operation.is_undoing)
    at = min(operation.step, len(steps) - 1)
    return OperationLine(operation, kind.label, steps[at].name, at + 1, len(steps))


@dataclass(frozen=True, slots=True)
class Served:
    """The tenants of an instance that the reader sees; `more`: there are others past the ones here."""

    placements: list[Placement]
    more: bool


def served_by(user: Any, instance: Instance) -> Served:
    """Placements visible to `user`, by the tenant's name: on a shared instance a tenant's scope shows that tenant only."""
    found = _placed_on(user, pk=instance.pk)
    return Served(found[:PLACEMENTS], len(found) > PLACEMENTS)


@scoped
def _placed_on(reader: Reader, *, pk: Any) -> QuerySet[Placement]:
    rows = visible(reader, Placement).filter(instance_id=pk).select_related("tenant")
    return rows.order_by("tenant__name")[: PLACEMENTS + 1]


def timeline(user: Any, limit: int = TIMELINE, **about: int) -> list[Event]:
    """Events about an `instance_id` or `cell_id` that `user` sees, newest first."""
    ((column, pk),) = about.items()
    return _events(user, column, limit, pk=pk)


@scoped
def _events(reader: Reader, column: str, limit: int, *, pk: Any) -> QuerySet[Event]:
    rows = visible(reader, Event).filter(**{column: pk})
    return rows.order_by("-at", "-id").select_related("actor")[:limit]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A diagnostics bundle with who collected it."""

    diagnostics: Diagnostics
    operation: Operation | None


def bundles(user: Any, instance: Instance, limit: int = 50) -> list[Bundle]:
    """Bundles of an instance on which `user` holds `diagnose`, newest first, without their texts."""
    rows = visible(user, Diagnostics.objects.filter(instance=instance), Permission.DIAGNOSE)
    found = list(rows.defer("parts").order_by("-created_at")[:limit])
    operations: Mapping[int, Operation] = {
        o.pk: o
        for o in Operation.objects.filter(pk__in=[d.operation_id for d in found]).select_related("actor")
    }
    return [Bundle(d, operations.get(d.operation_id)) for d in found]
