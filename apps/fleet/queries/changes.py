"""“What changed?”: the fleet's own answers, and the view over everybody's."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.urls import reverse

from apps.access.scoping import visible
from apps.accounts.models import Account, Region
from apps.audit import queries as audit
from apps.core.choices import Tone
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.queries import kind_label
from apps.tenants.models import Tenant

from .. import changes
from ..changes import Around, Change
from ..models import Cell, Certificate, Instance, Placement

BACK = timedelta(hours=1)
#: Changes of one source that are told.
SHOWN = 40
TONES = {State.FAILED: Tone.BAD, State.RUNNING: Tone.BUSY, State.SUCCEEDED: Tone.OK}


def register() -> None:
    """Called from registers.py."""
    for source in (operations, placements, certificates, decided):
        changes.register(source)


def around(instances: Iterable[Instance]) -> Around:
    """Some instances with what they lie in; their cells have to be at hand with the region. Of tenants, those placed there."""
    rows = list(instances)
    ids = frozenset(i.pk for i in rows)
    placed = Placement.objects.filter(instance_id__in=ids).order_by().values_list("tenant_id", flat=True)
    return Around(
        ids,
        frozenset(i.cell_id for i in rows),
        frozenset(i.cell.region_id for i in rows),
        frozenset(i.cell.region.account_id for i in rows),
        frozenset(placed[:2_000]),
    )


def before(user: Any, what: Around, moment: datetime, back: timedelta = BACK) -> list[Change]:
    """What was changed around them up to a moment, and a few seconds past it: clocks differ."""
    return changes.of_all(user, what, moment - back, moment + timedelta(seconds=5))


# --- Sources -------------------------------------------------------------------------------------


def operations(user: Any, what: Around, since: datetime, until: datetime) -> list[Change]:
    """Changing operations that were asked for or began then."""
    began = Q(started_at__range=(since, until)) | Q(created_at__range=(since, until))
    rows = visible(
        user, Operation.objects.filter(target_type="instance", target_id__in=what.instances, is_changing=True)
    ).filter(began)
    return [_operation(o) for o in rows.select_related("actor").order_by("-id")[:SHOWN]]


def _operation(o: Operation) -> Change:
    version = f" {o.params['version']}" if o.params.get("version") else ""
    words = f"{kind_label(o.kind)}{version} of {o.target_label}"
    kind = "deployment" if o.kind == "deploy" else "operation"
    note = f"{o.get_state_display().lower()} · {o.actor} · {o.reason}"
    url = reverse("operations:operation", args=[o.pk])
    return Change(o.started_at or o.created_at, kind, words, note, url, TONES.get(State(o.state), Tone.PLAIN))


def placements(user: Any, what: Around, since: datetime, until: datetime) -> list[Change]:
    """Tenants that came."""
    rows = visible(user, Placement).filter(instance_id__in=what.instances, since__range=(since, until))
    found = rows.select_related("tenant", "instance").order_by("-since")[:SHOWN]
    return [
        Change(
            p.since, "placement", f"{p.tenant} was placed on {p.instance}", "",
            reverse("tenants:tenant", args=[p.tenant_id]),
        )
        for p in found
    ]  # fmt: skip


def certificates(user: Any, what: Around, since: datetime, until: datetime) -> list[Change]:
    """Certificates that were served for the first time."""
    rows = visible(user, Certificate).filter(
        instance_id__in=what.instances, served_since__range=(since, until)
    )
    return [
        Change(
            c.served_since, "certificate", f"Another certificate on {c.instance}",
            f"by {c.issuer}, until {c.not_after:%Y-%m-%d}" if c.not_after else c.issuer,
            reverse("fleet:instance", args=[c.instance_id]),
        )
        for c in rows.select_related("instance").order_by("-served_since")[:SHOWN]
        if c.served_since
    ]  # fmt: skip


#: Recorded models and which ids of `Around` theirs are.
MODELS: tuple[tuple[type[Any], str], ...] = (
    (Instance, "instances"), (Cell, "cells"), (Region, "regions"), (Account, "accounts"), (Tenant, "tenants"),
)  # fmt: skip


def decided(user: Any, what: Around, since: datetime, until: datetime) -> list[Change]:
    """Configuration and other rows that people changed, by the audit trail: for who may read it. What operations did is told as theirs. One query."""
    named = Q(pk__in=[])
    for model, ids in MODELS:
        if found := getattr(what, ids):
            named |= Q(content_type=ContentType.objects.get_for_model(model), object_id__in=found)
    rows = (
        audit.trail(user)
        .filter(named, timestamp__range=(since, until), operation_id=None)
        .exclude(changes=None)
    )
    return [c for entry in rows[:SHOWN] if (c := _decided(entry)) is not None]


def _decided(entry: Any) -> Change | None:
    said: Sequence[audit.Change] = audit.changes_of(entry)
    names = ", ".join(change.name.replace("_", " ") for change in said[:6])
    if not names:
        return None
    noun = str(entry.content_type)
    verb = {0: "made", 1: "changed", 2: "deleted"}.get(entry.action, "changed")
    note = f"{names} · {entry.actor}{f' · {entry.reason}' if entry.reason else ''}"
    what = f"{entry.object_repr} ({noun.rsplit('|', maxsplit=1)[-1].strip()}) was {verb}"
    return Change(entry.timestamp, "configuration", what, note, reverse("audit:entry", args=[entry.pk]))
