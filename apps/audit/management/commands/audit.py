"""`manage.py audit`: verify, seal and export the trail."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.access.services import system_actor
from apps.audit import checking, exporting, keys, outside, roles, sealing, signing
from apps.audit.choices import EventKind
from apps.audit.telling import tell


class Command(BaseCommand):
    help = (
        "The audit trail: verify it, export it, seal what is not sealed yet, make keys and database grants."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        orders = parser.add_subparsers(dest="order", required=True)
        verify = orders.add_parser(
            "verify", help="say whether the chain holds, or the first row at which it breaks"
        )
        verify.add_argument(
            "--export", type=Path, metavar="FOLDER", help="verify this export; no database is needed"
        )
        verify.add_argument("--key", action="append", help="a public key in base64 to trust (with --export)")
        verify.add_argument(
            "--checkpoint", action="append", type=Path, default=[], help="a checkpoint kept from before"
        )
        export = orders.add_parser("export", help="write the sealed trail to a new folder")
        export.add_argument("folder", type=Path)
        orders.add_parser("seal", help="seal what is committed, now")
        orders.add_parser("keygen", help="print a new signing key, for AUDIT_SIGNING_KEY")
        orders.add_parser(
            "key", help="print the public key, to be published where the portal cannot change it"
        )
        grants = orders.add_parser(
            "grants", help="print the SQL that gives a role no more than the portal needs"
        )
        grants.add_argument("role")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["order"])(**options)
        except (outside.BadExport, keys.BadKey, signing.NoKey) as error:
            raise CommandError(str(error)) from error

    def verify(self, **options: Any) -> None:
        if options["export"]:
            verdict = outside.verify_export(
                options["export"], key_texts=options["key"], checkpoints=options["checkpoint"]
            )
        else:
            verdict, _ = checking.check(outside.read_checkpoints(options["checkpoint"]))
        if not verdict.holds:
            raise CommandError(outside.words(verdict))
        self.stdout.write(outside.words(verdict))

    def export(self, **options: Any) -> None:
        try:
            entries, seals = exporting.export(options["folder"])
        except FileExistsError as error:
            raise CommandError(f"{options['folder']} is there already: name a new folder.") from error
        what = f"export of the whole trail: {entries} entries, {seals} seals"
        tell(
            EventKind.EXPORT,
            what,
            actor=system_actor("command"),
            reason="manage.py audit export",
            via="command",
        )
        self.stdout.write(f"{entries:,} entries and {seals:,} seals are in {options['folder']}")

    def seal(self, **options: Any) -> None:
        made = sealing.seal(patience=30.0)
        self.stdout.write(f"{len(made)} new seals over {sum(seal.count for seal in made):,} entries")

    def keygen(self, **options: Any) -> None:
        self.stdout.write(keys.new_private_text())

    def key(self, **options: Any) -> None:
        public = signing.signing_key().public_key()
        self.stdout.write(f"{keys.key_id(public)} {keys.text_of(public)}")

    def grants(self, **options: Any) -> None:
        self.stdout.write(roles.grants_for(options["role"]))
