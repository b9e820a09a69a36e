"""Files that survive a kill at any instruction: whole writes, locks, and what is kept about an instance."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil

from ..base import ProviderError, ProviderTimeout, ProviderUnavailable

LOCK_SECONDS = 20.0
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def checked_name(name: str, what: str) -> str:
    """The name, when it can safely be a file's name. Raises ProviderError, not retryable."""
    if not _NAME.fullmatch(name):
        raise ProviderError(
            f"{name!r} cannot be the name of {what}: letters, digits and . _ + - only, at most 100, "
            "beginning with a letter or digit",
            retryable=False,
        )
    return name


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the operating system says into a ProviderError that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or "its disk"
        if error.errno in _FULL:
            raise ProviderUnavailable(
                f"{doing}: no space left at {where}; free disk space, then retry"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"{doing}: no permission for {where}; give it to the user that runs the workers"
            raise ProviderError(message, retryable=False) from error
        raise ProviderError(f"{doing}: {error.strerror or error} ({where})") from error


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Readers see the old content or the new, never a part; on the disk when it returns. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def locked(path: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[int]:
    """Hold the lock file, across threads and processes; the kernel lets go when the holder dies.

    Gives the file descriptor, which a child may inherit to keep the lock. Raises ProviderTimeout.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until, pause = time.monotonic() + seconds, 0.002
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    message = f"{path.stem} has been held by another change for {seconds:.0f} s; retry later"
                    raise ProviderTimeout(message) from None
                time.sleep(pause)
                pause = min(pause * 1.5, 0.05)
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Record:
    """`instance.json`: what is wanted of an instance. The product reads name, port, tenants, workers and config."""

    name: str
    cell: str
    port: int
    version: str
    wanted: Literal["running", "stopped"] = "running"
    parked: bool = False
    tenants: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    workers: int = 16


@dataclass(frozen=True, slots=True)
class Boot:
    """`pid.json`: the last process started for it, written by that process itself; it may be gone since."""

    pid: int
    mark: str
    started: float
    generation: int
    version: str

    def alive(self) -> bool:
        """Whether that very process lives: not another one with its pid, and not a zombie."""
        if self.mark:
            return identity(self.pid) == self.mark
        try:  # no /proc here: the start time is all there is
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 2
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def identity(pid: int) -> str:
    """As `launch.mark` wrote it, or empty for a process that has ended; one read, since probes ask all the time."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else f"{_machine_boot()}:{fields[19]}"
    except OSError:
        return ""


@cache
def _machine_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_record(directory: Path) -> Record | None:
    """What is wanted, or None for an instance that is missing. Raises ProviderError for a damaged file."""
    content = _read(directory / "instance.json")
    return None if content is None else _built(Record, content, directory / "instance.json")


def read_boot(directory: Path) -> Boot | None:
    """The last boot, or None before the first. Raises ProviderError for a damaged file."""
    content = _read(directory / "pid.json")
    return None if content is None else _built(Boot, content, directory / "pid.json")


def write_record(directory: Path, record: Record) -> None:
    """Raises OSError."""
    write_whole(directory / "instance.json", json.dumps(asdict(record), indent=1).encode())


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _built(kind: type[T], content: Mapping[str, Any], path: Path) -> T:
    try:
        return kind(**content)
    except TypeError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ProviderError:
    cure = "destroy the instance and deploy it again"
    if path.name == "pid.json":  # only it knows the process
        cure = "end the instance's process by hand and remove the file"
    return ProviderError(f"{path} is damaged; {cure}", retryable=False)
