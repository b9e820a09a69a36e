"""`manage.py bench`: measure the figures the portal promises."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.fleet.benches import engine, idle, pages, probing, registry, scoped, trail
from apps.fleet.benches.figures import Figure

BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "pages": pages.pages,
    "bulk": engine.bulk,
    "latency": engine.latency,
    "engine": engine.operations,
    "scoped": scoped.scoped,
    "idle": idle.idle,
    "seed": idle.seeding,
    "start": idle.starting,
    "trail": trail.trail,
    "probing": probing.probed,
}


class Command(BaseCommand):
    help = (
        "Print a line a figure and write bench.json. Changes the database it runs on: give it one of its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", default="", help=f"one of {', '.join([*BENCHES, *registry.more])}")
        parser.add_argument("--names", action="store_true", help="print the benches' names, measure nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["names"]:
            self.stdout.write("\n".join([*BENCHES, *registry.more]))
            return
        only = options["only"]
        benches = BENCHES | {name: load() for name, load in registry.more.items() if only in ("", name)}
        if only and only not in benches:
            names = ", ".join([*BENCHES, *registry.more])
            raise CommandError(f"There is no bench “{only}”; there are {names}.")
        figures: list[dict[str, Any]] = []
        for name, bench in benches.items():
            if only in ("", name):
                for figure in bench():
                    self.stdout.write(figure.line())
                    self.stdout.flush()
                    figures.append({"bench": name, **figure.as_dict()})
                _keep(name, figures)


def _keep(name: str, figures: list[dict[str, Any]]) -> None:
    """Write `bench.json`: this bench's figures in place of its last, those of the others as they are."""
    path = Path(settings.BASE_DIR) / "bench.json"
    kept = json.loads(path.read_text()) if path.exists() else []
    of_others = [one for one in kept if one.get("bench") != name]
    mine = [one for one in figures if one["bench"] == name]
    path.write_text(json.dumps([*of_others, *mine], indent=1) + "\n")
