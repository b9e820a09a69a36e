"""`manage.py bench_alerts`: the storm of alerts, measured."""

from typing import Any

from django.core.management.base import BaseCommand

from apps.alerts.benches.storm import storm


class Command(BaseCommand):
    help = "Print a line a figure. Changes the database it runs on: give it an empty one of its own."

    def handle(self, *args: Any, **options: Any) -> None:
        for figure in storm():
            self.stdout.write(figure.line())
