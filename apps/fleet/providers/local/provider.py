"""The local provider: each instance is a real process that serves HTTPS on 127.0.0.1 and outlives the portal.

    <root>/authority/             the certificate authority
    <root>/versions/<version>/    app.py, manifest.json
    <root>/instances/<name>/      instance.json (what is wanted), pid.json (the last boot), served.pem, logs
    <root>/locks/                 one per instance: each changing call holds it

Nothing is kept in memory: any number of processes may hold a LocalProvider on one root, and one that is
killed at any instruction leaves a state from which the next call goes on.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from .. import exposition
from ..base import (
    Command,
    CommandResult,
    DiskUse,
    LogPage,
    Observation,
    OneByOne,
    ProviderError,
    ProviderUnavailable,
    Sample,
    ServedCertificate,
    Target,
)
from . import commanding, journal, kept, ports, probe, process, reports, room, versions
from .authority import Authority, checked_pair, expired_own
from .files import (
    Boot,
    Record,
    checked_name,
    explained,
    locked,
    read_boot,
    read_record,
    write_record,
    write_whole,
)

WATCHERS = 8


@dataclass(slots=True)
class Held:
    """An instance whose lock is held: its directory, what is written about it, and the lock."""

    directory: Path
    record: Record | None
    boot: Boot | None
    lock: int

    def running(self) -> bool:
        """Whether its last process lives."""
        return self.boot is not None and self.boot.alive()


class LocalProvider(OneByOne):
    """See the module. What stands beside the protocol is for the bootstrap."""

    name = "local"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.authority = Authority(root / "authority")
        self._prober = probe.Prober(self.authority.client_context, self.authority.trusted_since)
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._pool_lock = threading.Lock()

    # --- for the bootstrap

    def prepare(self) -> None:
        """Make the directories and the authority; no effect when they are there. Raises ProviderError."""
        with explained(f"preparing {self.root}"):
            for name in ("versions", "instances", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self.authority.prepare()

    def install_version(self, version: str, fault: str | None = None, notes: str = "") -> None:
        """Write a version that can be applied; `fault` is "kind" or "kind:value", see `versions.Fault`."""
        ordered = versions.fault(fault) if fault else None
        versions.install(self.root / "versions", version, ordered=ordered, notes=notes)

    def running(self) -> list[str]:
        """Names of the instances whose process lives, sorted."""
        directories = sorted(path.parent for path in (self.root / "instances").glob("*/pid.json"))
        boots = ((directory.name, read_boot(directory)) for directory in directories)
        return [name for name, boot in boots if boot is not None and boot.alive()]

    def stop_all(self) -> list[str]:
        """Stop every running process; `resume_all` starts the same ones again. Returns their names."""
        return self._all(self.running(), self._park)

    def resume_all(self) -> list[str]:
        """Start what `stop_all` stopped. Returns their names."""
        paths = sorted((self.root / "instances").glob("*/instance.json"))
        records = ((path.parent.name, read_record(path.parent)) for path in paths)
        return self._all([name for name, record in records if record and record.parked], self._resume)

    # --- looking

    def observe(self, target: Target) -> Observation:
        """See `Provider.observe`. Most of what is wrong is seen without a request: no process, no answer."""
        directory = self._directory(target)
        record, boot = read_record(directory), read_boot(directory)
        if record is None:
            return Observation("missing", False, "", 0, detail="it was never deployed here, or destroyed")
        if boot is not None and boot.alive():
            return self._prober.observe(record, boot)
        version, generation = (boot.version, boot.generation) if boot else (record.version, 0)
        return Observation(
            "stopped",
            False,
            version,
            generation,
            reports.why_down(directory, record, boot),
            probe.endpoint(record),
        )

    def observe_many(self, targets: Sequence[Target]) -> dict[int, Observation]:
        """See `Provider.observe_many`; up to 8 at a time."""
        if len(targets) < 2:
            return {target.instance_id: self._observe_safely(target) for target in targets}
        seen = self._threads().map(self._observe_safely, targets)
        return {target.instance_id: observation for target, observation in zip(targets, seen, strict=True)}

    def logs(self, target: Target, *, limit: int = 200, after: str = "") -> LogPage:
        """See `Provider.logs`; also of a stopped instance."""
        return journal.read(self._directory(target), limit=limit, after=after)

    def metrics(self, target: Target) -> list[Sample]:
        """See `Provider.metrics`."""
        record, _ = self._alive(target, "it has no metrics now")
        try:
            return exposition.parse(self._prober.get(record.port, "/metrics").raise_for_status().text)
        except httpx.HTTPError as error:
            message = f"{target.name} gives no metrics ({str(error) or type(error).__name__}); restart it if that lasts"
            raise ProviderUnavailable(message) from error

    def diagnostics(self, target: Target) -> dict[str, str]:
        """See `Provider.diagnostics`; of a stopped instance, what it left behind."""
        directory = self._directory(target)
        return reports.collect(directory, read_record(directory), read_boot(directory))

    def served_certificate(self, target: Target) -> ServedCertificate:
        """See `Provider.served_certificate`."""
        record, _ = self._alive(target, "it serves no certificate")
        return probe.handshake(record)

    def serves(self, target: Target, tenants: Sequence[str]) -> set[str]:
        """See `Provider.serves`."""
        try:
            record, _ = self._alive(target, "it serves nobody")
        except ProviderUnavailable:
            return set()
        return {tenant for tenant in tenants if self._prober.serves(record, tenant)}

    def workers(self, target: Target) -> int:
        """See `Provider.workers`."""
        found = [int(sample.value) for sample in self.metrics(target) if sample.name == "workers"]
        if not found:
            raise ProviderError(f"the release of {target.name} has no workers to count", retryable=False)
        return found[0]

    def disk(self, target: Target) -> DiskUse:
        """See `Provider.disk`."""
        return room.measure(self._directory(target))

    def commands(self, target: Target) -> list[Command]:
        """See `Provider.commands`."""
        record = read_record(self._directory(target))
        return commanding.offered(self.root / "versions" / record.version) if record is not None else []

    def versions(self) -> list[str]:
        """See `Provider.versions`."""
        return versions.installed(self.root / "versions")

    # --- changing

    def apply(self, target: Target, *, version: str) -> None:
        """See `Provider.apply`."""
        versions.program(self.root / "versions", version)
        with self._held(target.name) as held:
            record = self._record(held, target)
            changed = replace(record, version=version, wanted="running", parked=False)
            self._save(held, _with_target(changed, target))
            if held.running() and held.boot is not None and held.boot.version == version:
                return
            self._boot(held)

    def start(self, target: Target) -> None:
        """See `Provider.start`."""
        with self._held(target.name) as held:
            record = _deployed(held, target.name)
            self._save(held, replace(record, wanted="running", parked=False))
            if not held.running():
                self._boot(held)

    def stop(self, target: Target) -> None:
        """See `Provider.stop`; one that died by itself counts as stopped by request from now on."""
        with self._held(target.name) as held:
            if held.record is not None:
                self._save(held, replace(held.record, wanted="stopped", parked=False))
            self._end(held)

    def restart(self, target: Target, *, generation: int) -> None:
        """See `Provider.restart`; a stopped one is started, if its generation is that."""
        with self._held(target.name) as held:
            record = _deployed(held, target.name)
            if (held.boot.generation if held.boot else 0) != generation:
                return
            self._save(held, replace(record, wanted="running", parked=False))
            self._boot(held)

    def destroy(self, target: Target) -> None:
        """See `Provider.destroy`."""
        with self._held(target.name, ending=True) as held:
            self._end(held)
            with explained(f"removing {target.name}"):
                # The record first: without it the instance is missing, however far the rest comes.
                (held.directory / "instance.json").unlink(missing_ok=True)
                shutil.rmtree(held.directory, ignore_errors=True)

    def place(self, target: Target) -> None:
        """See `Provider.place`; its config and workers too."""
        with self._held(target.name) as held:
            self._save(held, _with_target(_deployed(held, target.name), target))

    def scale(self, target: Target, *, workers: int) -> None:
        """See `Provider.scale`: worker threads of its one process."""
        with self._held(target.name) as held:
            self._save(held, replace(_deployed(held, target.name), workers=workers))

    def clear_disk(self, target: Target) -> None:
        """See `Provider.clear_disk`; needs no free space itself."""
        with self._held(target.name) as held, explained(f"clearing {target.name}"):
            room.clear(held.directory)

    def run_command(
        self, target: Target, name: str, arguments: Mapping[str, str], *, key: str
    ) -> CommandResult:
        """See `Provider.run_command`."""
        directory = self._directory(target)
        record = read_record(directory)
        if record is None:
            raise _not_deployed(target.name)
        return commanding.run(
            directory=directory, version=self.root / "versions" / record.version, record=record, name=name, given=arguments,
            lock=self.root / "locks" / f"{target.name}.command", key=key,
        )  # fmt: skip

    def present_certificate(
        self, target: Target, *, chain_pem: bytes, key_pem: bytes, root_pem: bytes = b""
    ) -> None:
        """See `Provider.present_certificate`; a stopped instance serves it from its next start."""
        content = checked_pair(chain_pem, key_pem)
        with self._held(target.name) as held:
            _deployed(held, target.name)
            if root_pem:  # first: a probe in between must not take it for a failure
                self.authority.trust(root_pem)
            served = held.directory / "served.pem"
            with explained(f"giving {target.name} its certificate"):
                if not served.exists() or served.read_bytes() != content:
                    kept.keep(held.directory)
                    write_whole(served, content)

    def restore_certificate(self, target: Target, *, fingerprint: str) -> None:
        """See `Provider.restore_certificate`; the last few that were replaced are kept."""
        with self._held(target.name) as held:
            _deployed(held, target.name)
            with explained(f"giving {target.name} its certificate back"):
                content = kept.find(held.directory, fingerprint)
                served = held.directory / "served.pem"
                if not served.exists() or served.read_bytes() != content:
                    write_whole(served, content)

    # --- how

    def _directory(self, target: Target) -> Path:
        return self.root / "instances" / checked_name(target.name, "an instance")

    @contextmanager
    def _held(self, name: str, *, ending: bool = False) -> Iterator[Held]:
        """The instance under its lock, read after the lock was got. For `ending` it, a damaged record will do."""
        directory = self.root / "instances" / checked_name(name, "an instance")
        with explained(f"changing {name}"), locked(self.root / "locks" / f"{name}.lock") as lock:
            try:
                record = read_record(directory)
            except ProviderError:
                if not ending:
                    raise
                record = None
            yield Held(directory, record, read_boot(directory), lock)

    def _record(self, held: Held, target: Target) -> Record:
        if held.record is not None:
            return held.record
        with locked(self.root / "locks" / ".ports"):
            port = ports.choose(self.root / "instances", target.name)
            record = Record(target.name, target.cell, port, target.version)
            write_record(held.directory, record)  # inside, so that nobody else is given this port
        return record

    def _save(self, held: Held, record: Record) -> None:
        if record != held.record:
            write_record(held.directory, record)
            held.record = record

    def _boot(self, held: Held) -> None:
        """End what runs and start what is wanted, as the next generation."""
        record = _deployed(held, held.directory.name)
        program = versions.program(self.root / "versions", record.version)
        self._end(held)
        ports.require_free(record)
        served = held.directory / "served.pem"
        if not served.exists() or expired_own(served.read_bytes()):
            write_whole(served, checked_pair(*self.authority.issue([record.name, "127.0.0.1"])))
        generation = (held.boot.generation if held.boot else 0) + 1
        process.spawn(held.directory, program, lock=held.lock, generation=generation, version=record.version)

    def _end(self, held: Held) -> None:
        if held.boot is not None:
            process.end(held.boot)

    def _alive(self, target: Target, otherwise: str) -> tuple[Record, Boot]:
        directory = self._directory(target)
        record, boot = read_record(directory), read_boot(directory)
        if record is None or boot is None or not boot.alive():
            raise ProviderUnavailable(f"{target.name} does not run, so {otherwise}; start it first")
        return record, boot

    def _observe_safely(self, target: Target) -> Observation:
        try:
            return self.observe(target)
        except (ProviderError, OSError) as error:
            return Observation("unknown", False, "", 0, detail=str(error))

    def _park(self, name: str) -> None:
        with self._held(name, ending=True) as held:
            if held.record is not None:
                self._save(held, replace(held.record, parked=True))
            self._end(held)

    def _resume(self, name: str) -> None:
        with self._held(name) as held:
            if held.record is None or not held.record.parked:
                return
            self._save(held, replace(held.record, parked=False))
            if not held.running():
                self._boot(held)

    def _all(self, names: list[str], change: Callable[[str], None]) -> list[str]:
        """All are tried; then the first error, if any, is raised."""
        futures = [(name, self._threads().submit(change, name)) for name in names]
        errors = [error for _, future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        return names

    def _threads(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None or self._pool[0] != os.getpid():
                self._pool = os.getpid(), ThreadPoolExecutor(WATCHERS, thread_name_prefix="local-fleet")
            return self._pool[1]


def _deployed(held: Held, name: str) -> Record:
    if held.record is None:
        raise _not_deployed(name)
    return held.record


def _not_deployed(name: str) -> ProviderError:
    return ProviderError(
        f"{name} was never deployed here, or destroyed; deploy a version first", retryable=False
    )


def _with_target(record: Record, target: Target) -> Record:
    return replace(
        record,
        cell=target.cell,
        tenants=sorted(target.tenants),
        config=dict(target.config),
        workers=target.workers,
    )
