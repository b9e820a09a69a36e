"""A PostgreSQL for the test run, and the markers' meaning.

The cluster is made by the pytest process that a person started (under xdist: the controller) in a new
temporary folder and on a free port, so that any number of runs may go on beside each other. Workers of xdist
inherit DATABASE_URL from the environment and get a database each by pytest-django's suffix; the first that needs
one migrates a template, of which all are copies.

pytest-django loads settings that an ini file names before it comes here, so pyproject.toml names none: this file
sets the environment first and Django up after it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from portal.stack.browser import find_browser
from portal.stack.postgres import EmbeddedPostgres
from portal.stack.state import ROOT

# Examples are slow on a busy machine and right all the same.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

IS_XDIST_WORKER = "PYTEST_XDIST_WORKER" in os.environ


def _start_cluster() -> None:
    folder = Path(tempfile.mkdtemp(prefix="daytwo-test-"))
    folder.chmod(0o755)  # the database may run as another user, whose own folder inside is closed
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    atexit.register(_remove_cluster, server, folder, os.getpid())
    server.start()
    os.environ["DATABASE_URL"] = server.url
    os.environ["DAYTWO_TEST_CLUSTER"] = str(server.data_dir)
    os.environ["DAYTWO_TEST_TEMPLATES"] = "1"
    os.environ.setdefault("DAYTWO_DATA_DIR", str(folder / "data"))


def _remove_cluster(server: EmbeddedPostgres, folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("DRAMATIQ_BROKER_URL", "stub://")  # tests that want a queue start one of their own
os.environ.setdefault("SECRET_KEY", "test-key-that-protects-nothing-but-is-long-enough-for-the-checks")
if "DATABASE_URL" not in os.environ and not IS_XDIST_WORKER:
    _start_cluster()
django.setup()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip browser tests where there is no browser, and say what would make them run.

    They come last: the browser's event loop stays in its process, and Django refuses a database beside one.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if find_browser():
        return
    skip = pytest.mark.skip(reason="no Chromium here: install chromium, or set DAYTWO_CHROMIUM")
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser for Playwright's `executable_path`."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium here: install chromium, or set DAYTWO_CHROMIUM")
    return path


def _schema_key() -> str:
    """What decides how a migrated database looks: all migrations, the pinned packages, and the day, since partitions follow it."""
    digest = sha256(date.today().isoformat().encode())
    for path in sorted([*ROOT.glob("apps/*/migrations/*.py"), *ROOT.glob("requirements/*.txt")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Copy each test database from one that is migrated once for all workers.

    Only where DAYTWO_TEST_TEMPLATES says so, as it does for a cluster of our own: nobody else's server is to
    keep a database of ours. Under a lock: one worker migrates, the others wait.
    """
    from django.conf import settings

    if not os.environ.get("DAYTWO_TEST_TEMPLATES"):
        return
    template, url = f"daytwo_schema_{_schema_key()}", os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as here:
        here.execute("SELECT pg_advisory_lock(hashtext('daytwo-test-schema'))")
        if not here.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone():
            raw, name = f"{template}_raw", sql.Identifier(f"{template}_raw")
            here.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            here.execute(sql.SQL("CREATE DATABASE {}").format(name))
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": urlsplit(url)._replace(path=f"/{raw}").geturl()},
                check=True,
            )
            here.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(name, sql.Identifier(template)))
    settings.DATABASES["default"]["TEST"]["TEMPLATE"] = template


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedPostgres:
    """A cluster for one test alone, not yet started, which the test may kill and restart as it likes."""
    folder = Path(tempfile.mkdtemp(prefix="daytwo-own-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    yield server
    server.destroy()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _fresh_system_actors() -> None:
    """The process remembers system actors' ids, refusals, counts and roles; a flushed test database does not."""
    from django.core.cache import cache

    from apps.access import limits, services
    from apps.audit import telling

    services._system.clear()
    telling.REFUSALS.forget()
    limits.CALLS.forget()
    cache.clear()


def _flush_past_the_trail(ops: Any, statements: list[str]) -> None:
    """Django empties tables after a transactional test; the trail's triggers refuse that, also to a superuser.

    A superuser may put them aside for one transaction, which the test's database role is and a portal's is not.
    """
    _flush(ops, ["SET LOCAL session_replication_role = replica;", *statements] if statements else statements)


from django.db.backends.postgresql.operations import DatabaseOperations  # noqa: E402 - after setup()

_flush = DatabaseOperations.execute_sql_flush
DatabaseOperations.execute_sql_flush = _flush_past_the_trail  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def _own_files() -> None:
    """Files as the database: each worker of xdist has its own, so that none clears away what another reads."""
    from django.conf import settings

    if IS_XDIST_WORKER:
        settings.DAYTWO_DATA_DIR = Path(settings.DAYTWO_DATA_DIR) / os.environ["PYTEST_XDIST_WORKER"]
