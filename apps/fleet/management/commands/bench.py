"""`manage.py bench`: measure the figures the portal promises."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.fleet.benches import engine, idle, pages, registry
from apps.fleet.benches.figures import Figure

BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "pages": pages.pages,
    "bulk": engine.bulk,
    "latency": engine.latency,
    "engine": engine.operations,
    "idle": idle.idle,
    "seed": idle.seeding,
}


class Command(BaseCommand):
    help = (
        "Print a line a figure and write bench.json. Changes the database it runs on: give it one of its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", default="", help=f"one of {', '.join([*BENCHES, *registry.more])}")

    def handle(self, *args: Any, **options: Any) -> None:
        only = options["only"]
        benches = BENCHES | {name: load() for name, load in registry.more.items() if only in ("", name)}
        if only and only not in benches:
            names = ", ".join([*BENCHES, *registry.more])
            raise CommandError(f"There is no bench “{only}”; there are {names}.")
        figures = []
        for name, bench in benches.items():
            if only in ("", name):
                for figure in bench():
                    self.stdout.write(figure.line())
                    self.stdout.flush()
                    figures.append(figure)
        path = Path(settings.BASE_DIR) / "bench.json"
        path.write_text(json.dumps([figure.as_dict() for figure in figures], indent=1) + "\n")
