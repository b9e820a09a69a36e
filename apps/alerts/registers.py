"""What alerting registers with the floors below."""

from django.conf import settings

from apps.access.choices import Permission
from apps.core import first_run as first_run_steps
from apps.core import navigation, retention
from apps.fleet import notices as of_fleet
from apps.fleet import observing
from apps.fleet.benches import registry as benches
from apps.operations import ticks
from apps.releases import escalating

from . import first_run, health, mending, notices, queries, scopes, security_clock, summary
from .telemetry import choosing


def register() -> None:
    """Called once, from apps.py."""
    scopes.register()
    notices.register()
    of_fleet.register_links(mending.links)
    choosing.register()
    observing.on_health_changes(health.heard)
    first_run_steps.register("alerts", first_run.lay_out)
    escalating.on_stage(security_clock.heard)
    navigation.register(navigation.NavItem("Incidents", "alerts:incidents", group="Watch", order=10, key="n"))
    navigation.register(
        navigation.NavItem(
            "Recovery", "alerts:recoveries", group="Watch", order=20, permission=Permission.VIEW
        )
    )
    navigation.register(navigation.NavItem("Runbooks", "alerts:runbooks", group="Watch", order=25))
    navigation.register(navigation.NavItem("On call", "alerts:on_call", group="Watch", order=30))
    navigation.register_bar(summary.bar_parts)
    retention.register("incidents", queries.oldest_open_since)
    ticks.register("alerts", every=2.0, send=_send("tick"))
    ticks.register("alerts, slowly", every=10.0, send=_send("slow_tick"))
    ticks.register("rules", every=15.0, send=_send("evaluate_rules"))
    ticks.register("runbooks of the repository", every=600.0, send=_send("take_over_library"))
    ticks.register("forget old signals", every=3600.0, send=_send("forget_old_signals"))
    benches.register("alerts", _storm)
    benches.register("states", _states)
    benches.register("killed", _killed)
    if settings.ALERTS_WATCHER_URL:
        ticks.register("tell the watcher", every=60.0, send=_send("tell_the_watcher"))


def _send(name: str) -> "ticks.Send":
    def send() -> None:
        # Late: an actor can be made only once the broker is there.
        from . import actors

        getattr(actors, name).send()

    return send


def _storm() -> benches.Bench:
    from .benches.storm import storm

    return storm


def _states() -> benches.Bench:
    from .benches.states import states

    return states


def _killed() -> benches.Bench:
    from .benches.killed import killed

    return killed
