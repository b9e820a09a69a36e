"""`make up`: database, schema, first-run seed, then web, worker and scheduler until Ctrl-C.

Tenants' processes are no part of this: they keep running when the portal stops.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.parse import urlsplit

from portal.stack.errors import DiskFull, PortTaken, StackError
from portal.stack.postgres import EmbeddedPostgres
from portal.stack.prepare import TRY_AGAIN
from portal.stack.state import ROOT, State, port_is_free, write_private
from portal.stack.supervisor import Supervisor, Voice, end_orphans, recall, remember

HOST = "127.0.0.1"
CHILDREN = ("web", "worker", "scheduler")
FIRST_PORT, PORTS_TO_TRY = 8000, 100
PAUSES = (1.0, 2.0, 5.0, 10.0)  # seconds between tries while the database is away
HEAD_START, HEALTH_PATIENCE = 10.0, 60.0  # seconds that the web may take to answer


class Portal:
    """One run of the portal on this machine, from `make up` to Ctrl-C."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.voice = Voice(state.logs)
        self.supervisor = Supervisor(state, self.voice)
        self.stopping = threading.Event()
        self.environment = dict(os.environ)
        self.postgres: EmbeddedPostgres | None = None
        self.port = 0
        self._preparing: subprocess.Popen[str] | None = None
        self._postgres_tries = 0
        self._next_postgres_look = 0.0

    @property
    def address(self) -> str:
        # By name: a browser keeps passkeys for names only, never for an IP address.
        return f"http://localhost:{self.port}"

    def run(self) -> int:
        """Start everything, tend it until asked to stop, stop everything. Returns the exit code."""
        self.port = choose_port(os.environ.get("PORT", ""))
        self.environment.setdefault("SECRET_KEY", self.state.secret_key())
        self.environment["DAYTWO_DATA_DIR"] = str(self.state.base)
        self.environment.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
        self.environment.setdefault("DAYTWO_URL", self.address)
        try:
            self._start_database()
            link = self._prepare()
            if link is None:
                return 0
            self._start_children()
            self._announce(link)
            while not self.stopping.wait(0.25):
                self._tend_database()
                self.supervisor.tend(self.environment)
            return 0
        finally:
            self._stop()

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """The handler of Ctrl-C and SIGTERM."""
        if not self.stopping.is_set():
            self.stopping.set()
            if self._preparing is not None:
                self._preparing.terminate()
            # From a thread: a handler must not wait for the lock that the interrupted code may hold.
            threading.Thread(target=self._say, args=("stopping; tenants' processes keep running",)).start()

    def _say(self, line: str) -> None:
        self.voice.say("system", line)

    # --- the database -------------------------------------------------------------------------------------

    def _start_database(self) -> None:
        if os.environ.get("DATABASE_URL"):
            return
        self.postgres = EmbeddedPostgres(self.state.postgres)
        while True:
            try:
                self.postgres.start()
                break
            except DiskFull as error:
                self._say(f"{error}\nThe next try is in {PAUSES[-1]:.0f} s.")
                if self.stopping.wait(PAUSES[-1]):
                    return
        self._note_database_address()

    def _note_database_address(self) -> None:
        """For the children, and in a file for `manage.py` in another terminal."""
        assert self.postgres is not None
        self.environment["DATABASE_URL"] = self.postgres.url
        write_private(self.state.database_url_file, self.postgres.url + "\n")

    def _tend_database(self) -> None:
        """Start our own PostgreSQL again when it is gone; say why when it cannot start, and keep trying."""
        if self.postgres is None or time.monotonic() < self._next_postgres_look:
            return
        self._next_postgres_look = time.monotonic() + 1.0
        if self.postgres.is_running():
            self._postgres_tries = 0
            return
        before = self.environment["DATABASE_URL"]
        try:
            self._say("PostgreSQL is gone; it is started again")
            self.postgres.start()
            self._note_database_address()
        except (StackError, OSError) as error:
            pause = PAUSES[min(self._postgres_tries, len(PAUSES) - 1)]
            self._postgres_tries += 1
            self._next_postgres_look = time.monotonic() + pause
            self._say(f"{error}\nThe next try is in {pause:.0f} s.")
            return
        if self.environment["DATABASE_URL"] != before:
            self._say("PostgreSQL has a new port: web, worker and scheduler are started again")
            self.supervisor.restart_all()

    # --- the processes ------------------------------------------------------------------------------------

    def _prepare(self) -> str | None:
        """Schema and seed. While the database is away this says so and tries again. None when asked to stop."""
        tries = 0
        while not self.stopping.is_set():
            code, answer = self._run_prepare()
            if code == 0:
                return str(json.loads(answer)["link"])
            if self.stopping.is_set():
                break
            if code != TRY_AGAIN:
                raise StackError(
                    f"The portal could not be prepared (exit code {code}): its last words are above."
                )
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            tries += 1
            self._say(
                f"The database at {where(self.environment['DATABASE_URL'])} is away: {json.loads(answer)['away']}. "
                f"Check that it runs and that DATABASE_URL is right. The next try is in {pause:.0f} s."
            )
            self._tend_database()
            self.stopping.wait(pause)
        return None

    def _run_prepare(self) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal.stack.prepare"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._preparing = process
        assert process.stdout is not None and process.stderr is not None
        for line in process.stderr:
            self.voice.say("prepare", line.rstrip())
        answer = process.stdout.read()
        self._preparing = None
        return process.wait(), answer

    def _start_children(self) -> None:
        """The web first, so that it has the cores to itself until it answers; then the others."""
        orders = commands(self.port)
        self.supervisor.add("web", orders.pop("web"), self.environment)
        self._wait_until_healthy(HEAD_START)
        for name, command in orders.items():
            self.supervisor.add(name, command, self.environment)

    def _announce(self, link: str) -> None:
        """Wait until the web answers, then say where, in one line."""
        if not self._wait_until_healthy(HEALTH_PATIENCE):
            if not self.stopping.is_set():
                self._say(f"The web does not answer at {self.address} yet: see {self.state.logs / 'web.log'}")
            return
        seen = json.dumps({"pid": os.getpid(), "address": self.address})
        write_private(self.state.run / "portal.json", seen)
        print(f"\n  Daytwo runs at {self.address} — sign in once with {self.address}{link}\n", flush=True)

    def _wait_until_healthy(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        web = self.supervisor.children[0]
        while time.monotonic() < deadline and not self.stopping.is_set():
            self.supervisor.tend(self.environment)
            if web.is_running and answers(f"{self.address}/healthz"):
                return True
            self.stopping.wait(0.1)
        return False

    def _stop(self) -> None:
        self.supervisor.stop()
        if self.postgres is not None:
            self.postgres.stop()
        for name in ("portal.json", "up.pid"):
            (self.state.run / name).unlink(missing_ok=True)
        self._say("stopped")


def commands(port: int) -> dict[str, list[str]]:
    """The portal's processes and how each is started."""
    here = Path(sys.executable).parent
    web = [
        str(here / "granian"),
        "--interface",
        "wsgi",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    # granian warns above two threads for each core and one.
    threads = min(8, 2 * (os.cpu_count() or 1) + 1)
    web += ["--blocking-threads", str(threads), "--workers-kill-timeout", "5", "--no-ws"]
    web += ["--log-level", "warning", "portal.wsgi:application"]
    worker = [str(here / "dramatiq"), "portal.worker", "--processes", "1", "--threads", "4", "--skip-logging"]
    return {
        "web": web,
        "worker": worker,
        "scheduler": [sys.executable, "manage.py", "run_scheduler"],
    }


def choose_port(asked: str) -> int:
    """The port that PORT names, which must be free, else the first free one from 8000 on."""
    if asked:
        if not asked.isdigit() or not 0 < int(asked) < 65536:
            raise StackError(f"PORT must be a number from 1 to 65535, not {asked!r}.")
        if not port_is_free(int(asked)):
            raise PortTaken(
                f"Port {asked} is taken by another program. Stop it, or: make up PORT=<another port>"
            )
        return int(asked)
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TO_TRY):
        if port_is_free(port):
            return port
    raise PortTaken(
        f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS_TO_TRY - 1} are taken. Name one: make up PORT=9000"
    )


def answers(address: str) -> bool:
    """Whether a GET of the address gives a 200 within two seconds."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - always http://127.0.0.1
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def where(database_url: str) -> str:
    """Host and port of a database URL, without its password."""
    parts = urlsplit(database_url)
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}"


def lock(state: State) -> IO[str] | None:
    """The right to run the portal on this state: an open file to keep, or None while another has it."""
    file = (state.run / "up.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def running_address(state: State) -> str:
    """The address of the portal that runs on this state, as far as it said one."""
    try:
        return str(json.loads((state.run / "portal.json").read_text())["address"])
    except (FileNotFoundError, ValueError, KeyError):
        return "an address it has not printed yet: it is still starting"


def main() -> int:
    """Run the portal. 0 when it was stopped, or ran already; 1 with the reason when it could not start."""
    state = State.from_environment()
    try:
        state.create()
        held = lock(state)
        if held is None:
            other = recall(state, "up")
            pid = f", pid {other.pid}" if other else ""
            print(
                f"Daytwo already runs here: {running_address(state)} (data in {state.base}{pid}). To stop it: make down"
            )
            return 0
        remember(state, "up", os.getpid())
        end_orphans(state, CHILDREN)
        portal = Portal(state)
        signal.signal(signal.SIGINT, portal.ask_to_stop)
        signal.signal(signal.SIGTERM, portal.ask_to_stop)
        signal.signal(signal.SIGHUP, portal.ask_to_stop)
        return portal.run()
    except (StackError, OSError) as error:
        print(f"Daytwo cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
