"""Where the local portal keeps its state: everything lies under one folder, `.data/` of the checkout."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class State:
    """The folders and files of one local portal. `DAYTWO_DATA_DIR` moves all of them."""

    base: Path

    @classmethod
    def from_environment(cls) -> State:
        """The state of this checkout, or the one that DAYTWO_DATA_DIR names."""
        named = os.environ.get("DAYTWO_DATA_DIR", "").strip()
        return cls(Path(named).expanduser().absolute() if named else ROOT / ".data")

    @property
    def postgres(self) -> Path:
        return self.base / "postgres"

    @property
    def run(self) -> Path:
        return self.base / "run"

    @property
    def logs(self) -> Path:
        return self.base / "logs"

    @property
    def secret_key_file(self) -> Path:
        return self.base / "secret_key"

    @property
    def database_url_file(self) -> Path:
        return self.base / "database_url"

    def create(self) -> None:
        """Make the folders that are missing; those of run and logs are readable by the owner alone."""
        self.base.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def secret_key(self) -> str:
        """The portal's secret key, made at the first call and the same ever after."""
        try:
            key = self.secret_key_file.read_text().strip()
        except FileNotFoundError:
            key = ""
        if not key:
            key = secrets.token_urlsafe(64)
            write_private(self.secret_key_file, key + "\n")
        return key


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, at no moment readable by others or half written."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
