"""`manage.py audit`: verify, seal and export the trail."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from apps.access.services import system_actor
from apps.audit import checking, exporting, keys, outside, partitions, retiring, roles, sealing, signing
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
        verify.add_argument(
            "--archive",
            action="append",
            type=Path,
            default=[],
            help="an archive of retention's; name all of them",
        )
        retire = orders.add_parser(
            "retire", help="archive months of entries and let them go; says what would go, unless --really"
        )
        retire.add_argument("--before", type=date.fromisoformat, required=True, metavar="YYYY-MM-01")
        retire.add_argument("--archive", type=Path, metavar="FOLDER", help="new folder for the archive")
        retire.add_argument("--really", action="store_true", help="do it")
        months = orders.add_parser(
            "months", help="make partitions for the months to come (as the tables' owner)"
        )
        months.add_argument("--ahead", type=int, default=12)
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
        except (outside.BadExport, keys.BadKey, signing.NoKey, retiring.NotRetired) as error:
            raise CommandError(str(error)) from error

    def verify(self, **options: Any) -> None:
        if options["export"]:
            verdict = outside.verify_export(
                options["export"], key_texts=options["key"], checkpoints=options["checkpoint"],
                archives=options["archive"],
            )  # fmt: skip
        else:
            kept = outside.read_checkpoints(options["checkpoint"])
            verdict, _ = checking.check(kept, options["archive"])
        if not verdict.holds:
            raise CommandError(outside.words(verdict))
        self.stdout.write(outside.words(verdict))

    def retire(self, **options: Any) -> None:
        plan = retiring.plan(options["before"])
        names = ", ".join(one.name for one in plan.partitions)
        self.stdout.write(
            f"{plan.entries:,} entries ({plan.first} to {plan.last}) of {len(plan.partitions)} partitions: {names}\n"
            f"Gone as a whole: seals up to #{plan.seal}; {len(plan.gone):,} entries of seals after it."
        )
        if not options["really"]:
            self.stdout.write("Nothing was let go. To do it: --archive FOLDER --really")
            return
        if options["archive"] is None:
            raise CommandError("Name a new folder for the archive: --archive FOLDER")
        try:
            made = retiring.retire(plan, options["archive"])
        except FileExistsError as error:
            raise CommandError(f"{options['archive']} is there already: name a new folder.") from error
        except OperationalError as error:
            raise CommandError(
                f"The trail was not free in time; nothing was let go. Try again. ({error})"
            ) from error
        self.stdout.write(
            f"Let go. The archive is in {options['archive']}: keep it where the portal cannot reach it.\n"
            f"SHA-256 of its entries, as signed: {made.header['archive']}"
        )

    def months(self, **options: Any) -> None:
        if not partitions.is_owner():
            raise CommandError(
                "This takes the owner of the tables: run it with the DATABASE_URL that migrates."
            )
        made = partitions.make_months(datetime.now(UTC).date(), ahead=options["ahead"])
        self.stdout.write(", ".join(made) or "All there already.")

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
