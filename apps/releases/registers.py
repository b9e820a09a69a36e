"""What this app registers with the floors below."""

from apps.core import first_run as first_run_steps
from apps.core import navigation, palette
from apps.fleet import changes
from apps.fleet.benches import registry as benches
from apps.fleet.providers import simulated
from apps.operations import endings, guard_rails, ticks
from apps.tenants import panels

from . import driving, first_run, guarding, notices, scopes, search, stopping, telling
from .queries import rings


def register() -> None:
    """Called once, from apps.py."""
    scopes.register()
    notices.register()
    panels.facts.register(rings.facts)
    changes.register(telling.rollouts)
    guard_rails.register("deployable versions", guarding.deployable_versions)
    guard_rails.register("blast radius", guarding.blast_radius)
    guard_rails.register("stopped rollouts", stopping.of_stopped_rollouts)
    endings.register("rollouts", driving.go_on)
    simulated.register_versions(search.known_versions)
    navigation.register(navigation.NavItem("Releases", "releases:list", group="Change", order=10, key="r"))
    navigation.register(navigation.NavItem("Rollouts", "releases:rollouts", group="Change", order=11))
    navigation.register(
        navigation.NavItem("Exposure", "releases:advisories", group="Watch", order=30, key="x")
    )
    palette.register("releases", search.find_releases)
    first_run_steps.register("releases", first_run.lay_out)
    benches.register("releases", _bench)
    benches.register("trials", _trials)
    ticks.register("rollouts", every=1.0, send=_send("advance_rollouts"))
    ticks.register("exposure", every=10.0, send=_send("watch_exposure"))
    ticks.register("hot patches", every=30.0, send=_send("watch_hot_patches"))
    ticks.register("security deadlines", every=60.0, send=_send("ask_before_deadlines"))
    ticks.register("customer notices", every=10.0, send=_send("send_customer_notices"))


def _bench() -> "benches.Bench":
    # Late: benches are run by one command alone.
    from .benches.rollouts import releases

    return releases


def _trials() -> "benches.Bench":
    from .benches.trials import trials

    return trials


def _send(name: str) -> "ticks.Send":
    def send() -> None:
        # Late: an actor can be made only once the broker is there.
        from . import actors

        getattr(actors, name).send()

    return send
