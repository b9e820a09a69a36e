"""`manage.py seed --instances N`: a simulated fleet of any size."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.access.services import system_actor
from apps.fleet.seeding import seed


class Command(BaseCommand):
    help = "Add N simulated instances of N/5 tenants (set --tenants to choose)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--instances", type=int, required=True)
        parser.add_argument("--tenants", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        count = options["instances"]
        tenants = options["tenants"] or max(1, count // 5)
        began = time.monotonic()
        try:
            seed(instances=count, tenants=tenants, actor=system_actor("command"))
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count:,} instances of {tenants:,} tenants in {time.monotonic() - began:.1f} s")
