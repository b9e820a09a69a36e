"""What is known of a PostgreSQL data directory from outside: its process, its settings, why it would not start."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from portal.stack.binaries import RunAs
from portal.stack.errors import DiskFull, StackError

ROOM_FOR_A_DATABASE = 200 * 1024 * 1024
LONGEST_SOCKET_PATH = 107
KILLED_SERVER_PATIENCE = 10.0  # seconds that backends may outlive a killed server

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "wal_level": "replica",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%d ",
    "idle_in_transaction_session_timeout": "10min",
}
# For tests only: a crash of the machine may lose the database. A crash of PostgreSQL alone loses nothing that
# was committed, which the survival tests need: hence no synchronous_commit=off, which would lose the last
# moments (and saves little once fsync is off).
NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "5min",
}


def configuration(data_dir: Path, port: int, *, durable: bool) -> str:
    """The text of `daytwo.conf`, which postgresql.conf includes."""
    settings = SETTINGS | ({} if durable else NOT_DURABLE)
    settings |= {"port": str(port), "unix_socket_directories": socket_folder(data_dir, port)}
    text = "# Written by Daytwo at each start. Your own settings belong at the end of postgresql.conf.\n"
    return text + "".join(f"{name} = '{value}'\n" for name, value in settings.items())


def socket_folder(data_dir: Path, port: int) -> str:
    """The data directory when a socket's path fits there, else none: everything here speaks TCP."""
    folder = str(data_dir)
    fits = len(f"{folder}/.s.PGSQL.{port}".encode()) <= LONGEST_SOCKET_PATH
    return folder if fits and not set(folder) & set("',\"\\") else ""


def pid_file_lines(data_dir: Path) -> list[str]:
    """The lines of postmaster.pid: process number first, port fourth. Empty when there is no such file."""
    try:
        return (data_dir / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def recorded_pid(data_dir: Path) -> int | None:
    """The process number that the directory names, whoever has it now."""
    lines = pid_file_lines(data_dir)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def is_server_of(data_dir: Path, pid: int) -> bool:
    """Whether `pid` is a PostgreSQL of this directory; a number used again by another program is not."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres"):
            return False
        return Path(process.cwd()).resolve() == data_dir.resolve()
    except psutil.AccessDenied:
        return pid == recorded_pid(data_dir)
    except psutil.NoSuchProcess:
        return False


def clear_after_a_kill(data_dir: Path) -> None:
    """Remove the lock files of a killed server whose process number is taken, by a zombie or by a stranger.

    PostgreSQL removes them itself when the number is free. The files are its guard against two servers on
    one directory, so they go only when no process of the old server is left.
    """
    pid = recorded_pid(data_dir)
    if pid is None or not psutil.pid_exists(pid) or is_server_of(data_dir, pid):
        return
    deadline = time.monotonic() + KILLED_SERVER_PATIENCE
    while left := [other for other in psutil.pids() if is_server_of(data_dir, other)]:
        if time.monotonic() > deadline:
            raise StackError(
                f"A killed PostgreSQL left processes that still write to {data_dir}: "
                f"{', '.join(map(str, left))}. Wait until they end, or end them: kill -QUIT {left[0]}"
            )
        time.sleep(0.1)
    (data_dir / "postmaster.pid").unlink(missing_ok=True)
    for lock in data_dir.glob(".s.PGSQL.*"):
        lock.unlink(missing_ok=True)


def check_room(folder: Path) -> None:
    """Raise DiskFull when a new database would not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < ROOM_FOR_A_DATABASE:
        raise DiskFull(
            f"The disk under {folder} has {free // 2**20} MB left; a database needs "
            f"{ROOM_FOR_A_DATABASE // 2**20} MB to begin with. "
            "Free some space or set DAYTWO_DATA_DIR to another disk."
        )


def run_program(command: Sequence[str], user: RunAs | None, timeout: float) -> tuple[int, str]:
    """Run one of PostgreSQL's programs as the user who may. Returns its exit code and all it said.

    Output goes through a file: a server started by pg_ctl would hold a pipe open for ever. PG* variables of
    the person who started us do not reach it, and it speaks English, which `explain` reads.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment | {"LC_ALL": "C", "LANG": "C"},
                timeout=timeout,
                check=False,
                start_new_session=True,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
                umask=0o077,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{command[0]} did not end within {timeout:.0f} s.") from error
        output.seek(0)
        return done.returncode, output.read()


def explain(said: str, what: str, data_dir: Path, user: RunAs | None) -> StackError:
    """The server's own words, turned into what was wrong and what to do."""
    if "No space left on device" in said:
        return DiskFull(
            f"PostgreSQL {what}: the disk under {data_dir} is full. Free some space and start again."
        )
    if "could not create shared memory" in said or "Cannot allocate memory" in said:
        return StackError(
            f"PostgreSQL {what}: too little memory for it. Free some, or set DATABASE_URL to a server elsewhere."
        )
    if "has wrong ownership" in said or "Permission denied" in said:
        owner = user.name if user else "$USER"
        return StackError(
            f"PostgreSQL {what}: {data_dir} does not belong to {owner}. It was probably made by another user; "
            f"start the portal as that user, or: chown -R {owner} {data_dir}"
        )
    last_words = "\n  ".join(line for line in said.strip().splitlines()[-8:] if line.strip())
    return StackError(
        f"PostgreSQL {what}. It said:\n  {last_words}\nAll of its log: {data_dir / 'server.log'}"
    )
