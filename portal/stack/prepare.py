"""What has to be true before the web answers: schema, first-run seed, local fleet. One Python process for all.

`python -m portal.stack.prepare` is run by `make up`; it answers with one line of JSON on standard output and
says everything else on standard error. Exit code 75 means: the database is away, try again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def main() -> int:
    """Migrate when something is unapplied, bootstrap, and print a sign-in link as `{"link": "/..."}`, or `{"away": reason}`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        import django
        from django.db import OperationalError

        django.setup()
        try:
            link = _prepare()
        except OperationalError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            answer.write(json.dumps({"away": reason}) + "\n")
            return TRY_AGAIN
    answer.write(json.dumps({"link": link}) + "\n")
    return 0


def _prepare() -> str:
    from django.core.management import call_command

    if _has_unapplied_migrations():
        call_command("migrate", interactive=False, verbosity=1)
    call_command("bootstrap")
    said = io.StringIO()
    call_command("signin_link", user="admin", stdout=said)
    words = said.getvalue().split()
    return words[-1] if words else "/"


def _has_unapplied_migrations() -> bool:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


if __name__ == "__main__":
    sys.exit(main())
