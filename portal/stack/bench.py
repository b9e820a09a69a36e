"""`make bench`: each bench of `manage.py bench` on a database of its own: measuring touches neither anyone's data nor the next figure."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from portal.stack.errors import StackError
from portal.stack.postgres import EmbeddedPostgres
from portal.stack.state import ROOT

MIGRATED = "daytwo"  # made by the server's start; what each bench's database is a copy of


def main() -> int:
    """Run the benches; DATABASE_URL, when set, names the one database to measure all of them on."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help="the bench to run; without it all")
    only = parser.parse_args().only
    if os.environ.get("DATABASE_URL"):
        return _manage(dict(os.environ), "migrate", "--verbosity", "0") or _manage(
            dict(os.environ), "bench", "--only", only
        )
    with tempfile.TemporaryDirectory(prefix="daytwo-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            server.start()
            return _apart(server, {**os.environ, "DAYTWO_DATA_DIR": folder}, only)
        except StackError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            server.destroy()


def _apart(server: EmbeddedPostgres, environment: dict[str, str], only: str) -> int:
    """Each bench on a fresh copy of the migrated database. One that fails is told; the others are still run."""
    if code := _manage(
        {**environment, "DATABASE_URL": server.url_of(MIGRATED)}, "migrate", "--verbosity", "0"
    ):
        return code
    names = [only] if only else _names({**environment, "DATABASE_URL": server.url_of(MIGRATED)})
    worst = 0
    for name in names:
        database = f"bench_{name}"
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as admin:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(copy.format(sql.Identifier(database), sql.Identifier(MIGRATED)))
        code = _manage({**environment, "DATABASE_URL": server.url_of(database)}, "bench", "--only", name)
        if code:
            print(f"The bench “{name}” failed: see above.", file=sys.stderr)
        worst = max(worst, code)
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
    return worst


def _names(environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "manage.py", "bench", "--names"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()


def _manage(environment: dict[str, str], *arguments: str) -> int:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
