"""Drain and move: an instance's tenants are placed on another one, seen served there, led over, and the empty one stops.

For some seconds both serve. What fails before the end is taken back: the tenants are led home, and off the other one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.access.choices import Permission
from apps.core.choices import Tone
from apps.core.context import acting, current
from apps.core.events import event, record
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import Done, Failed, Kind, Later, Outcome, Step, Work
from apps.tenants.models import Tenant

from .. import providers
from ..choices import InstanceKind, Wanted
from ..models import Instance, Placement
from ..providers.base import ProviderError, Target
from ..stepping import as_text, each_provided, want
from ..targets import provider_targets
from . import placing

NAME = "move"
#: Seconds between two looks; until the tenants have to be served there; and for which both serve.
LOOK, PATIENCE, DRAIN = 0.3, 15.0, 2.0
#: Instances in one request.
MOST = 20


def _choose(work: Work, provider: Any, target: Target) -> Outcome:
    """Where to, and who; what stood there before, so that the way back takes off nobody else."""
    source = Instance.objects.select_related("cell__region").get(pk=work.target_id)
    act = current()
    to, why = placing.find(source, work.params["to"], act.actor if act else None)
    if to is None:
        return Failed(f"It cannot be moved: {why}.", retryable=False)
    tenants = list(source.placements.order_by("tenant_id").values_list("tenant_id", flat=True))
    if not tenants:
        return Failed("It serves no tenant; there is nothing to move.", retryable=False)
    there = list(to.placements.filter(tenant_id__in=tenants).values_list("tenant_id", flat=True))
    words = f"{len(tenants)} tenant{'' if len(tenants) == 1 else 's'} to {to}, in {to.cell}"
    notes = {
        "to": to.pk,
        "to_name": to.name,
        "tenants": tenants,
        "there_before": there,
        "wanted": source.wanted,
    }
    return Done(words, notes)


def _place(work: Work, provider: Any, target: Target) -> Outcome:
    to, tenants = work.notes["to"], work.notes["tenants"]
    with transaction.atomic(), _doing(work):
        row = Instance.objects.select_for_update().get(pk=to)
        others = row.placements.exclude(tenant_id__in=tenants).exists()
        if row.kind == InstanceKind.DEDICATED and (others or len(tenants) > 1):
            return Failed(f"{row} is dedicated to another tenant by now.", retryable=False)
        _put(tenants, to)
    _tell_provider(to)
    return Done(f"placed on {work.notes['to_name']}; both serve")


def _see(work: Work, provider: Any, target: Target) -> Outcome:
    to, tenants = work.notes["to"], work.notes["tenants"]
    there, other = _of(to)
    keys = list(Tenant.objects.filter(pk__in=tenants).values_list("key", flat=True))
    seen = there.observe(other)
    lacking = set(keys) - there.serves(other, keys)
    if seen.healthy and not lacking:
        return Done(f"{other.name} is well and serves {'it' if len(keys) == 1 else 'all of them'}")
    why = f"does not serve {', '.join(sorted(lacking)[:3])}" if lacking else seen.detail or seen.state
    if (work.now() - work.step_started_at).total_seconds() > PATIENCE:
        return Failed(f"{other.name} after {PATIENCE:g} s: {why}.", retryable=False)
    if lacking and seen.healthy:
        there.place(other)  # another move may have told it of its own tenants alone
    return Later(LOOK, f"{other.name}: {why}")


def _lead(work: Work, provider: Any, target: Target) -> Outcome:
    """From here on the tenants are at home there; whoever leads requests reads placements."""
    with transaction.atomic(), _doing(work):
        gone = _take(work.notes["tenants"], work.target_id)
        _tell(work, gone, f"moved from {work.target_label} to {work.notes['to_name']}", "moved")
    return Done(f"led to {work.notes['to_name']}")


def _drain(work: Work, provider: Any, target: Target) -> Outcome:
    left = DRAIN - (work.now() - work.step_started_at).total_seconds()
    if left > 0:
        return Later(min(left, 1.0), "what is in hand there is finished")
    _try_place(provider, target)
    return Done("the old one serves none of them any more")


def _stop(work: Work, provider: Any, target: Target) -> Outcome:
    if Placement.objects.filter(instance_id=work.target_id).exists():
        return Done("others are placed on it by now: it stays")
    want(work, wanted=str(Wanted.STOPPED))
    provider.stop(target)
    return Done("stopped, empty")


def _lead_back(work: Work, provider: Any, target: Target) -> Outcome:
    with transaction.atomic(), _doing(work):
        back = _put(work.notes["tenants"], work.target_id)
        _tell(work, back, f"led back to {work.target_label}", "moved_back")
    want(work, wanted=work.notes["wanted"])
    (home, own) = _of(work.target_id)
    _try_place(home, own)
    if work.notes["wanted"] == Wanted.RUNNING:
        try:
            home.start(own)
        except ProviderError as error:
            if error.retryable:
                raise
    return Done("at home again")


def _take_off(work: Work, provider: Any, target: Target) -> Outcome:
    ours = sorted(set(work.notes["tenants"]) - set(work.notes["there_before"]))
    with transaction.atomic(), _doing(work):
        _take(ours, work.notes["to"])
    if Instance.objects.filter(pk=work.notes["to"]).exists():
        _try_place(*_of(work.notes["to"]))
    return Done(f"off {work.notes['to_name']} again")


# --- Parts ---------------------------------------------------------------------------------------


def _doing(work: Work) -> Any:
    act = current()
    return acting(act.actor if act else None, operation_id=work.id)


def _put(tenants: Sequence[int], instance: int) -> list[int]:
    """Place those who are not there yet; gives who they are."""
    return [pk for pk in tenants if Placement.objects.get_or_create(tenant_id=pk, instance_id=instance)[1]]


def _take(tenants: Sequence[int], instance: int) -> list[int]:
    """Take off those who are there; gives who they were."""
    rows = list(Placement.objects.filter(tenant_id__in=tenants, instance_id=instance))
    for row in rows:
        row.delete()
    return [row.tenant_id for row in rows]


def _of(pk: int) -> tuple[Any, Target]:
    """The provider of an instance and its target, with the tenants as they are placed now."""
    for name, targets in provider_targets([pk]).items():
        return providers.get(name), targets[pk]
    raise ProviderError("There is no such instance any more.", retryable=False)


def _tell_provider(pk: int) -> None:
    provider, target = _of(pk)
    provider.place(target)


def _try_place(provider: Any, target: Target) -> None:
    """Tell it its tenants; one that is gone for good need not know."""
    try:
        provider.place(target)
    except ProviderError as error:
        if error.retryable:
            raise


def _tell(work: Work, tenants: Sequence[int], words: str, what: str) -> None:
    names = dict(Tenant.objects.filter(pk__in=tenants).values_list("pk", "name"))
    record(
        [
            event(
                f"tenant.{what}", f"{name} {words}", why=work.reason, tone=Tone.PLAIN, operation_id=work.id,
                tenant_id=pk, instance_id=work.target_id, cell_id=work.cell_id, account_id=work.account_id,
            )
            for pk, name in names.items()
        ]
    )  # fmt: skip


# --- The kind ------------------------------------------------------------------------------------


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    given = as_text(params, ("to",)).get("to", "")
    if not given or len(given) > 63:
        raise ValueError("Say where to: the name of an instance, or “any” for the best that fits.")
    return {"to": given}


MOVE = Kind(
    name=NAME,
    label="Drain and move",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(
        Step("look", each_provided(_choose), timeout=30),
        Step("place the tenants there", each_provided(_place), timeout=60),
        Step("see them served there", each_provided(_see), timeout=PATIENCE + 30),
        Step("lead them there", each_provided(_lead), timeout=30),
        Step("drain the old one", each_provided(_drain), timeout=60),
        Step("stop the old one", each_provided(_stop), timeout=30),
    ),
    undo=(
        Step("lead them home", each_provided(_lead_back), timeout=60),
        Step("take them off the other one", each_provided(_take_off), timeout=60),
    ),
    undo_from=1,
    check_params=_params,
    preview=lambda label, params: (
        f"the tenants of {label} are served by {_where(params)} instead, once they are seen to be; then {label} stops"
    ),
)


def _where(params: Mapping[str, Any]) -> str:
    to = str(params.get("to", "…"))
    return "any instance that fits, the best of them" if to == placing.ANY else to


def fits(request: Request) -> dict[int, Objection]:
    """A guard rail: there are tenants to move, and a place that may take them. Bounded, for it asks for each target."""
    if request.kind.name != NAME or request.starting:
        return {}
    if len(request.targets) > MOST:
        return {t.id: Objection(f"At most {MOST} instances are moved at once.") for t in request.targets}
    found: dict[int, Objection] = {}
    rows = Instance.objects.select_related("cell__region").filter(pk__in=[t.id for t in request.targets])
    for source in rows:
        if not source.placements.exists():
            found[source.pk] = Objection(f"{source} serves no tenant; there is nothing to move.")
            continue
        to, why = placing.find(source, request.params["to"], request.actor)
        if to is None:
            found[source.pk] = Objection(f"{source} cannot be moved: {why}.")
    return found
