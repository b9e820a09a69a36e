"""Starts, ends and inspects the processes of instances. No policy here: the provider decides and holds the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from ..base import ProviderError, ProviderTimeout, ProviderUnavailable
from .files import Boot

LAUNCHER = Path(__file__).with_name("launch.py")
BOOT_SECONDS = 10.0
GRACE_SECONDS = 3.0
ERRORS_BYTES = 256 * 1024


def spawn(directory: Path, program: Path, *, lock: int, generation: int, version: str) -> None:
    """Boot the program detached; on return its `pid.json` is written. Raises ProviderError, OSError.

    Detached: its own session, no inherited files, a child of init, an environment without our secrets.
    """
    errors = directory / "stderr.log"
    if errors.exists() and errors.stat().st_size > ERRORS_BYTES:
        errors.unlink()
    python = [sys.executable, "-I", "-S"]
    arguments = [str(directory / "pid.json"), str(lock), str(generation), version, str(errors)]
    command = [*python, str(LAUNCHER), *arguments, *python, str(program), str(directory), str(generation)]
    try:
        done = subprocess.run(
            command,
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            timeout=BOOT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProviderTimeout(
            f"{directory.name} was not launched in {BOOT_SECONDS:.0f} s; retry later"
        ) from error
    if done.returncode == 0:
        return
    said = done.stderr.decode("utf-8", "replace").strip()[-300:]
    if "No space left" in said or "quota exceeded" in said:
        raise ProviderUnavailable(
            f"starting {directory.name}: no space left at {directory}; free disk space, then retry"
        )
    raise ProviderError(f"{directory.name} could not be launched: {said}")


def end(boot: Boot) -> None:
    """SIGTERM, and SIGKILL for one that is still there after 3 s. Raises ProviderTimeout if even that fails."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 5.0)):
        if not boot.alive():
            return
        with suppress(ProcessLookupError):
            os.kill(boot.pid, number)
        until, pause = time.monotonic() + patience, 0.002
        while boot.alive():
            if time.monotonic() > until:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
    if boot.alive():
        raise ProviderTimeout(
            f"process {boot.pid} did not end, even on SIGKILL; look at it on the machine, then retry"
        )


def port_taker(port: int) -> str:
    """Who listens on the port, for an error message; empty when that cannot be seen."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp4"):
            here = getattr(connection.laddr, "port", 0) == port and connection.status == psutil.CONN_LISTEN
            if here and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    return ""


def is_suspended(pid: int) -> bool:
    """Whether somebody stopped the process with SIGSTOP."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def last_words(directory: Path) -> str:
    """The last line of its standard error, at most 200 characters."""
    with suppress(OSError):
        lines = (
            (directory / "stderr.log").read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
        )
        return lines[-1][:200] if lines else ""
    return ""


def described(boot: Boot) -> dict[str, str]:
    """Its state and its open files as texts for a diagnostics bundle."""
    try:
        process = psutil.Process(boot.pid)
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            state = [
                f"pid {boot.pid}, {process.status()}, boot {boot.generation}, version {boot.version}",
                f"command {' '.join(process.cmdline())}",
                f"cpu user {times.user:.2f} s, system {times.system:.2f} s",
                f"memory resident {memory.rss} bytes, virtual {memory.vms} bytes",
                f"threads {process.num_threads()}, file descriptors {process.num_fds()}",
            ]
            files = [f"{file.fd} {file.path}" for file in process.open_files()]
            sockets = [f"{c.fd} {c.laddr} {c.raddr} {c.status}" for c in process.net_connections("inet")]
        return {"process": "\n".join(state), "open files": "\n".join(files + sockets)}
    except psutil.Error as error:
        return {"process": f"process {boot.pid} cannot be inspected: {error}", "open files": ""}
