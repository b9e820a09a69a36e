"""What the fleet registers with the floors below."""

from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from apps.access.breaking import emergencies
from apps.access.choices import Permission
from apps.core import navigation, palette, retention
from apps.operations import guard_rails, kinds, params, selections, ticks
from apps.tenants import panels

from . import account_sections, choosing, covers, looks, notices, scopes, search, tenant_sections
from . import kinds as fleet_kinds
from .bootstrap import LAID_OUT
from .certificates import rotating
from .models import Instance
from .queries import changes as changing
from .remedies import clearing, commanding, moving, scaling
from .targets import describe, facts


def register() -> None:
    """Called once, from apps.py."""
    scopes.register()
    covers.register()
    tenant_sections.register()
    account_sections.register()
    changing.register()
    panels.tabs.append(panels.Tab("metrics", "Metrics", "fleet:tenant_charts", Permission.VIEW))
    kinds.register_target(
        kinds.TargetType("instance", Instance, describe, "instance_id", "fleet:instance", facts)
    )
    for kind in fleet_kinds.ALL:
        kinds.register_kind(kind)
    kinds.register_kind(rotating.ROTATE)
    for kind in (clearing.CLEAR, scaling.SCALE, moving.MOVE, commanding.RUN):
        kinds.register_kind(kind)
    guard_rails.register("certificates", rotating.serves_something)
    notices.register_now(emergencies)
    guard_rails.register("moves", moving.fits)
    guard_rails.register("commands", commanding.is_offered)
    navigation.register(navigation.NavItem("Certificates", "fleet:certificates", order=13))
    navigation.register(navigation.NavItem("Fleet", "fleet:overview", order=10, key="f"))
    navigation.register(navigation.NavItem("Instances", "fleet:instances", order=11, key="i"))
    navigation.register(navigation.NavItem("Cells", "fleet:cells", order=12))
    palette.register("instances", search.find_instances)
    palette.register("cells", search.find_cells)
    selections.register("instance", _select)
    params.register_param_choices("deploy", "version", choosing.versions_for, label="Version")
    params.register_param_choices("scale", "workers", None, label="Requests in hand at once")
    params.register_param_choices("move", "to", None, label="To: an instance's name, or any")
    params.register_param_choices("run_command", "command", commanding.names_for, label="Command")
    params.register_param_choices(
        "run_command", "arguments", None, label="Arguments, as name=value", is_optional=True
    )
    params.register_breakdown("instance", choosing.by_cell)
    ticks.register("probe", every=looks.every(), send=_send("probe"))
    ticks.register("probe simulated", every=10.0, send=_send("probe_simulated"))
    ticks.register("measure", every=15.0, send=_send("measure"))
    ticks.register("look at certificates", every=15.0, send=_send("look_at_certificates"))
    ticks.register("renew certificates", every=60.0, send=_send("renew_certificates"))
    ticks.register("forget old measurements", every=3600.0, send=_send("forget_old_measurements"))
    ticks.register("let old events go", every=3600.0, send=_send("let_events_go"))
    retention.keep(LAID_OUT)
    ticks.register("days of the history", every=3600.0, send=_send("make_days_ahead"))


def _select(user: Any, query: QueryDict) -> QuerySet[Any]:
    # Late: filters make fields, which look models up.
    from .filters import select_instances

    return select_instances(user, query)


def _send(name: str) -> "ticks.Send":
    def send() -> None:
        # Late: an actor can be made only once the broker is there.
        from . import actors

        getattr(actors, name).send()

    return send
