"""What the money registers with the floors below."""

from apps.access.choices import Permission
from apps.core import navigation
from apps.fleet.benches import registry as benches
from apps.operations import ticks
from apps.tenants import panels

from . import scopes


def register() -> None:
    """Called once, from apps.py."""
    scopes.register()
    item = navigation.NavItem(
        "Cost", "cost:overview", group="Account for", order=50, permission=Permission.SEE_COST, key="m"
    )
    navigation.register(item)
    panels.tabs.append(panels.Tab("cost", "Cost", "cost:tenant", Permission.SEE_COST))
    ticks.register("read open bills", every=15.0, send=_send("read_open_bills"))
    ticks.register("fetch bills", every=600.0, send=_send("fetch_bills"))
    ticks.register("allocate by new rules", every=60.0, send=_send("allocate_stale"))
    ticks.register("keep expected revenue", every=15.0, send=_send("keep_expected"))
    ticks.register("count usage", every=3600.0, send=_send("count_usage"))
    ticks.register("count instances' cost", every=600.0, send=_send("count_instances"))
    ticks.register("forget instances' days", every=86_400.0, send=_send("forget_instance_days"))
    ticks.register("look after costs", every=3600.0, send=_send("look_after_costs"))
    ticks.register("place revenue", every=3600.0, send=_send("place_revenue"))
    ticks.register("forget old costs", every=86_400.0, send=_send("forget_old_facts"))
    benches.register("books", _books)
    benches.register("cost_pages", _pages)


def _books() -> "benches.Bench":
    # Late: benches are run by one command alone.
    from .benches.books import books

    return books


def _pages() -> "benches.Bench":
    # Late, as above.
    from .benches.pages import cost_pages

    return cost_pages


def _send(name: str) -> "ticks.Send":
    def send() -> None:
        # Late: an actor can be made only once the broker is there.
        from . import actors

        getattr(actors, name).send()

    return send
