"""`make lint`: every check that runs no test. All are run, all failures are shown, then one exit code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from portal.stack.state import ROOT

BIN = Path(sys.executable).parent
# What a production portal must be told; values that stand for nothing, for `check --deploy`.
PRODUCTION = {
    "DAYTWO_ENV": "production",
    "SECRET_KEY": "lint-only-Zq7vR2mX9cT4bN8wK3jH6gF1dS5aP0oI-uYtReWqLkJhGf_MnBvCxZ",
    "ALLOWED_HOSTS": "daytwo.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://daytwo.example.com",
    "DATABASE_URL": "postgresql://daytwo:x@127.0.0.1:5432/daytwo",
    "DRAMATIQ_BROKER_URL": "",
    "DAYTWO_URL": "https://daytwo.example.com",
    "EMAIL_URL": "smtp://mail.example.com:587",
    "AUDIT_SIGNING_KEY": "bGludC1vbmx5LWxpbnQtb25seS1saW50LW9ubHktMDE=",
    "SECURITY_EMAIL": "security@example.com",
}
# Development settings on no database at all: nothing here may need one.
DEVELOPMENT = {
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:9/none",
    "SECRET_KEY": PRODUCTION["SECRET_KEY"],
}

Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Check:
    """One program to run. `verdict` tells from its end whether it failed ("fail"), passed ("ok") or was skipped."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    verdict: Callable[[Finished], str]


def by_exit_code(done: Finished) -> str:
    """Failed when the exit code says so."""
    return "fail" if done.returncode else "ok"


def audit_verdict(done: Finished) -> str:
    """A vulnerability found fails; a service that cannot be reached is skipped, plainly."""
    if done.returncode == 0:
        return "ok"
    found = re.search(r"Found \d+ known vulnerabilit", done.stdout)
    return "fail" if found else "skipped: the vulnerability service cannot be reached from here"


def own_apps() -> list[str]:
    """The labels of our apps that have migrations."""
    return sorted(folder.parent.name for folder in (ROOT / "apps").glob("*/migrations"))


def checks() -> list[Check]:
    """All checks, the quick ones first."""
    manage = [sys.executable, "manage.py"]
    templates = sorted(str(path) for top in ("templates", "apps") for path in (ROOT / top).rglob("*.html"))
    found = [
        Check("ruff check", [str(BIN / "ruff"), "check", "."], {}, by_exit_code),
        Check(
            "ruff format",
            [str(BIN / "ruff"), "format", "--check", "--output-format", "concise", "."],
            {},
            by_exit_code,
        ),
        Check("import-linter", [str(BIN / "lint-imports"), "--no-cache"], {}, by_exit_code),
        Check(
            "check --deploy",
            [*manage, "check", "--deploy", "--fail-level", "WARNING"],
            PRODUCTION,
            by_exit_code,
        ),
        Check(
            "migrations",
            [*manage, "makemigrations", "--check", "--dry-run", *own_apps()],
            DEVELOPMENT,
            by_exit_code,
        ),
        Check("shell", ["bash", "-n", ".ci/run"], {}, by_exit_code),
        Check("mypy", [str(BIN / "mypy")], DEVELOPMENT, by_exit_code),
    ]
    if templates:
        djade = [str(BIN / "djade"), "--check", "--target-version", "5.2", *templates]
        found.append(Check("djade", djade, {}, by_exit_code))
    if (BIN / "hadolint").exists():
        found.append(Check("hadolint", [str(BIN / "hadolint"), "Dockerfile"], {}, by_exit_code))
    audit = [
        str(BIN / "pip-audit"),
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
        "--timeout",
        "20",
    ]
    found.append(Check("pip-audit", [*audit, "-r", "requirements/local.txt"], {}, audit_verdict))
    return found


def run(check: Check) -> bool:
    """Run one check and print its verdict, with all it said when it failed. True unless it failed."""
    if not (shutil.which(check.command[0]) or Path(check.command[0]).exists()):
        print(
            f"FAIL     {check.name}: {check.command[0]} is not installed; run make lint again after: make venv-dev"
        )
        return False
    began = time.monotonic()
    environment = {**os.environ, **check.environment, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    done = subprocess.run(
        list(check.command),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    verdict = check.verdict(done)
    print(f"{verdict.split(':')[0].upper():<8} {check.name} ({time.monotonic() - began:.1f} s)", flush=True)
    if verdict.startswith("skipped"):
        print(f"         {verdict}")
    elif verdict == "fail":
        print("\n".join(f"    {line}" for line in done.stdout.rstrip().splitlines()[-200:]), flush=True)
    return verdict != "fail"


def main() -> int:
    """Run the checks named as arguments, or all. 1 when any failed."""
    wanted = sys.argv[1:]
    results = [run(check) for check in checks() if not wanted or check.name in wanted]
    failed = results.count(False)
    print(f"{len(results) - failed} of {len(results)} checks passed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
