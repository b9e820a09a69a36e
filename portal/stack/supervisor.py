"""Keeps the portal's processes running: one that ends is started again, the others never notice.

honcho prints the lines; its Manager is not used, because it ends everything when one process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import psutil
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from portal.stack.state import ROOT, State, write_private

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a process that ended is started again
ASK_AGAIN = 4.0  # seconds after which a child that did not stop is asked once more
LONG_ENOUGH = 30.0  # seconds after which a process counts as healthy and its pause starts over
LONGEST_LOG = 5 * 1024 * 1024


class Voice:
    """Writes lines to the terminal and to `.data/logs/NAME.log`, one at a time however many threads speak."""

    def __init__(self, logs: Path, width: int = 9) -> None:
        self._logs = logs
        self._printer = Printer(width=width)
        self._lock = threading.Lock()
        self._colours = get_colours()
        self._colour_of: dict[str, str] = {}
        self._files: dict[str, IO[str]] = {}

    def say(self, name: str, line: str) -> None:
        """One line from `name`. A terminal that went away or a full disk loses lines, never the portal."""
        with self._lock:
            if name not in self._colour_of:
                self._colour_of[name] = next(self._colours)
            now = datetime.now()
            with contextlib.suppress(OSError, ValueError):
                self._printer.write(Message("line", line, now, name, self._colour_of[name]))
            try:
                file = self._file(name)
                file.write(f"{now.isoformat(timespec='milliseconds')} {line}\n")
                file.flush()
            except (OSError, ValueError):
                pass

    def _file(self, name: str) -> IO[str]:
        path = self._logs / f"{name}.log"
        file = self._files.get(name)
        if file is not None and file.tell() > LONGEST_LOG:
            file.close()
            os.replace(path, path.with_suffix(".log.1"))
            file = None
        if file is None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            file = self._files[name] = os.fdopen(descriptor, "a", errors="replace")
        return file


@dataclass
class Child:
    """One process of the portal, and what is known of its last runs."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    start_again_at: float = 0.0
    starts: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts children, starts them again with a growing pause when they end, and stops them all in the end."""

    def __init__(self, state: State, voice: Voice) -> None:
        self.state = state
        self.voice = voice
        self.children: list[Child] = []

    def add(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start one more child now."""
        child = Child(name, command)
        self.children.append(child)
        self._start(child, environment)
        return child

    def tend(self, environment: Mapping[str, str]) -> None:
        """Look at every child once; cheap, to be called a few times a second."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, now)
            elif child.process is None and now >= child.start_again_at:
                self._start(child, environment)

    def restart_all(self) -> None:
        """Stop every child; `tend` starts them again at once, with the environment it is given then."""
        self.stop(patience=10.0)
        for child in self.children:
            child.process, child.start_again_at = None, 0.0

    def stop(self, patience: float = 15.0) -> None:
        """End all children: asked first, forced after `patience` seconds. Their own children go with them."""
        running = [child for child in self.children if child.is_running]
        for child in running:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + patience
        for child in running:
            if not _ends_by(child, min(deadline, time.monotonic() + ASK_AGAIN)):
                _signal(child, signal.SIGTERM)  # one that was still starting may have missed the first
            if not _ends_by(child, deadline):
                self.voice.say("system", f"{child.name} did not stop within {patience:.0f} s: ended by force")
            _signal_group(child, signal.SIGKILL)
            _ends_by(child, time.monotonic() + 5.0)
        for child in self.children:
            pid_file(self.state, child.name).unlink(missing_ok=True)

    def _start(self, child: Child, environment: Mapping[str, str]) -> None:
        """Start it; where the machine cannot now (no memory, no process left), say so and try again after a pause."""
        try:
            process = subprocess.Popen(
                list(child.command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        except OSError as error:
            self.voice.say(
                "system", f"{child.name} cannot be started ({error.strerror}); again in {child.pause:.0f} s"
            )
            child.start_again_at = time.monotonic() + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
            return
        child.process, child.started, child.starts = process, time.monotonic(), child.starts + 1
        try:
            remember(self.state, child.name, process.pid)
        except OSError as error:  # the disk is full, say: it runs all the same, and ends with the supervisor
            self.voice.say("system", f"the process number of {child.name} cannot be kept: {error.strerror}")
        threading.Thread(target=self._relay, args=(child.name, process), daemon=True).start()

    def _note_end(self, child: Child, now: float) -> None:
        assert child.process is not None
        if now - child.started > LONG_ENOUGH:
            child.pause = FIRST_PAUSE
        how = _how_it_ended(child.process.returncode)
        self.voice.say("system", f"{child.name} ended ({how}); it is started again in {child.pause:.0f} s")
        _signal_group(child, signal.SIGKILL)
        child.process = None
        child.start_again_at = now + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _relay(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.voice.say(name, line.decode("utf-8", "replace").rstrip())


def pid_file(state: State, name: str) -> Path:
    """Where the process number of `name` is kept while it runs."""
    return state.run / f"{name}.pid"


def remember(state: State, name: str, pid: int) -> None:
    """Keep a process's number together with its birth, so that a number used again is never mistaken for it."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    write_private(pid_file(state, name), json.dumps({"pid": pid, "born": born}))


def recall(state: State, name: str) -> psutil.Process | None:
    """The process that `remember` kept, if it still runs."""
    try:
        kept = json.loads(pid_file(state, name).read_text())
        process = psutil.Process(int(kept["pid"]))
        alive = (
            abs(process.create_time() - float(kept["born"])) < 1 and process.status() != psutil.STATUS_ZOMBIE
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None
    return process if alive else None


def wait_until_gone(state: State, name: str, patience: float) -> bool:
    """Whether the process that `remember` kept ends within `patience` seconds. A zombie counts as ended."""
    deadline = time.monotonic() + patience
    while recall(state, name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def end_orphans(state: State, names: Sequence[str], patience: float = 10.0) -> list[str]:
    """End processes that a killed supervisor left behind. Returns the names of those that were there."""
    found = {name: process for name in names if (process := recall(state, name)) is not None}
    for process in found.values():
        process.terminate()
    deadline = time.monotonic() + patience
    for name, process in found.items():
        if not wait_until_gone(state, name, max(0.0, deadline - time.monotonic())):
            process.kill()
    for name in names:
        pid_file(state, name).unlink(missing_ok=True)
    return list(found)


def _ends_by(child: Child, deadline: float) -> bool:
    """Wait for the child's end until `deadline` of the monotonic clock."""
    assert child.process is not None
    try:
        child.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(number)


def _signal_group(child: Child, number: signal.Signals) -> None:
    """To all that is left of a child's own session. Tenants' processes live in sessions of their own."""
    if child.process is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
