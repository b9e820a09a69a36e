"""What a portal costs that nobody uses, and how fast a fleet is seeded."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connection

from apps.access.services import system_actor

from ..seeding import seed
from .figures import Figure

SECONDS = 20.0


def idle() -> Iterator[Figure]:
    """CPU of web, worker, scheduler and database together over twenty idle seconds."""
    here = Path(sys.executable).parent
    commands = [
        [
            str(here / "granian"),
            "--interface",
            "wsgi",
            "--port",
            "18999",
            "--workers",
            "1",
            "portal.wsgi:application",
        ],
        [str(here / "dramatiq"), "portal.worker", "--processes", "1", "--threads", "4", "--skip-logging"],
        [sys.executable, "manage.py", "run_scheduler"],
    ]
    quiet = subprocess.DEVNULL
    portal = [
        subprocess.Popen(
            c, cwd=settings.BASE_DIR, env=dict(os.environ), stdout=quiet, stderr=quiet, start_new_session=True
        )
        for c in commands
    ]
    try:
        time.sleep(15)
        watched = [psutil.Process(process.pid) for process in portal]
        watched.append(_postmaster())
        before = _cpu(watched)
        time.sleep(SECONDS)
        yield Figure("idle portal", (_cpu(watched) - before) / SECONDS * 100, "% of a core", at_most=5)
    finally:
        for process in portal:
            process.terminate()
        for process in portal:
            process.wait()


def _postmaster() -> psutil.Process:
    """The database's own process, when it runs on this machine; else this one's stand-in that costs nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return psutil.Process(cursor.fetchone()[0]).parent() or psutil.Process(1)


def _cpu(roots: list[psutil.Process]) -> float:
    total = 0.0
    for root in roots:
        for process in [root, *root.children(recursive=True)]:
            try:
                times = process.cpu_times()
                total += times.user + times.system
            except psutil.NoSuchProcess:
                continue
    return total


def seeding() -> Iterator[Figure]:
    """100,000 simulated instances of 20,000 tenants."""
    began = time.perf_counter()
    seed(instances=100_000, tenants=20_000, actor=system_actor("command"))
    yield Figure("seed of 100,000 instances", time.perf_counter() - began, "s", at_most=120)


def starting() -> Iterator[Figure]:
    """From `make up` typed to the address that it prints: a first start, with its fleet, and a warm one."""
    with tempfile.TemporaryDirectory(prefix="daytwo-up-") as folder:
        Path(folder).chmod(0o755)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "PORT"))}
        environment["DAYTWO_DATA_DIR"] = folder
        try:
            yield Figure("start, the first, with its fleet", _up(environment), "s")
            yield Figure("start, warm", _up(environment), "s", at_most=10)
        finally:
            _stack("down", environment).wait()


def _stack(module: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"portal.stack.{module}"]
    return subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _up(environment: dict[str, str]) -> float:
    began = time.perf_counter()
    portal = _stack("up", environment)
    for line in portal.stdout or ():
        if "Daytwo runs at" in line:
            break
    else:
        raise RuntimeError("the portal did not start")
    took = time.perf_counter() - began
    portal.send_signal(signal.SIGINT)
    portal.communicate()
    return took
