"""`manage.py import_bills FOLDER`: take in what lies in a folder; workers read it."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.access.services import system_actor
from apps.cost.importing import receive_folder


class Command(BaseCommand):
    help = "Take in the bills of a folder: each file is one, each folder in it is one of many files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder.")
        made, refused = receive_folder(folder, actor=system_actor("command"))
        for bill, is_new in made:
            self.stdout.write(f"{bill}: {'taken in' if is_new else 'was here before, nothing changed'}")
        if refused:
            raise CommandError("Not taken in: " + " ".join(refused))
