"""`make bench`: `manage.py bench` on a database of its own, so that measuring never touches anyone's data."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from portal.stack.errors import StackError
from portal.stack.postgres import EmbeddedPostgres
from portal.stack.state import ROOT


def main() -> int:
    """Run the bench, passing all arguments on; DATABASE_URL, when set, names the database to measure on."""
    if os.environ.get("DATABASE_URL"):
        return _bench(dict(os.environ))
    with tempfile.TemporaryDirectory(prefix="daytwo-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            server.start()
            return _bench({**os.environ, "DATABASE_URL": server.url, "DAYTWO_DATA_DIR": folder})
        except StackError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            server.destroy()


def _bench(environment: dict[str, str]) -> int:
    for arguments in (["migrate", "--verbosity", "0"], ["bench", *sys.argv[1:]]):
        code = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=False
        ).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
