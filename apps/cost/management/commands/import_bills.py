"""`manage.py import_bills FOLDER|s3://…`: take in what lies there; workers read it."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.access.services import system_actor
from apps.cost import buckets
from apps.cost.fetching import receive_url
from apps.cost.importing import receive_folder
from apps.cost.store import Unusable


class Command(BaseCommand):
    help = "Take in the bills of a folder or an s3:// address: each file is one, each folder in it is one of many files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("place", help="a folder, s3://bucket/folder/ or s3://bucket/file")

    def handle(self, *args: Any, **options: Any) -> None:
        place, actor = str(options["place"]), system_actor("command")
        if place.startswith(buckets.SCHEME):
            try:
                made, refused = receive_url(place, actor=actor)
            except Unusable as error:
                raise CommandError(str(error)) from error
        elif Path(place).is_dir():
            made, refused = receive_folder(Path(place), actor=actor)
        else:
            raise CommandError(f"{place} is no folder.")
        for bill, is_new in made:
            self.stdout.write(f"{bill}: {'taken in' if is_new else 'was here before, nothing changed'}")
        if refused:
            raise CommandError("Not taken in: " + " ".join(refused))
