"""`manage.py bootstrap`: the first run, safe to repeat."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.fleet.bootstrap import bootstrap
from apps.fleet.providers.base import ProviderError


class Command(BaseCommand):
    help = "Make roles, people and the first fleet where they lack; start the local fleet's processes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-fleet", action="store_true", help="only roles and people (production)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            bootstrap(with_fleet=not options["no_fleet"])
        except ProviderError as error:
            raise CommandError(str(error)) from error
