"""The one protocol between the engine and whatever runs the product.

Pure Python: nothing here knows Django, so that a provider can be tested, and run, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal, Protocol

State = Literal["running", "starting", "stopped", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class Target:
    """One instance, as much of it as a provider needs to know.

    `tenants` are the keys of the tenants placed on it; `config` may hold secrets and is never shown as it is;
    `workers` is how many requests it may have in hand at once.
    """

    instance_id: int
    name: str
    cell: str
    version: str
    tenants: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 16


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at an instance saw.

    `generation` counts boots: it grows by one each time the process is started, and is 0 before the first.
    `detail` is for people: why it is not healthy, or not running. `missing` is known not to be there; `unknown`
    could not be asked about, and says nothing of version and generation.
    """

    state: State
    healthy: bool
    version: str
    generation: int
    detail: str = ""
    endpoint: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line the instance wrote; `at` is aware, in UTC."""

    at: datetime
    level: str
    message: str
    tenant: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines, oldest first, and an opaque cursor: pass it back as `after` to get what came since."""

    lines: list[LogLine]
    cursor: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of the Prometheus exposition format."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """The leaf certificate that a real handshake got; `key` tells its kind ("EC secp256r1", "RSA 2048")."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str
    key: str


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What an instance holds on its disk, in bytes: all of it, and what clearing would free."""

    total: int
    clearable: int


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command: an `integer` within limits, one of some `choices`, a `tenant` of the instance, or a `word`."""

    name: str
    kind: Literal["integer", "choice", "tenant", "word"]
    about: str = ""
    default: str = ""
    min: int = 0
    max: int = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a release offers by name. `is_repeatable`: done twice it is as if done once."""

    name: str
    about: str
    arguments: tuple[Argument, ...] = ()
    timeout: float = 20.0
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command wrote, its secrets hidden, cut at a limit; and how it ended."""

    exit_code: int
    output: str
    is_cut: bool = False
    seconds: float = 0.0


class ProviderError(Exception):
    """A provider could not do it; the message says what was wrong and what to do.

    `retryable`: the same call may succeed later with nothing changed by a person.
    """

    retryable: bool = True

    def __init__(self, message: str, *, retryable: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable


class ProviderTimeout(ProviderError):
    """It did not answer in time; whether it took the order is not known, so look before acting again."""


class ProviderUnavailable(ProviderError):
    """It cannot be reached, or is not in a state in which it could answer."""


class UnknownVersion(ProviderError):
    """There is no such version at the provider; trying again will not help."""

    retryable = False


Outcomes = dict[int, ProviderError | None]
"""Per instance id: None where the call was taken, else why not."""


class Provider(Protocol):
    """What every provider promises. Each changing call looks first and acts only where reality differs."""

    name: str

    def observe(self, target: Target) -> Observation:
        """Look once; returns within 2 s, also when the instance hangs."""

    def observe_many(self, targets: Sequence[Target]) -> dict[int, Observation]:
        """Look at all; one bad target never raises, its observation tells why."""

    def apply(self, target: Target, *, version: str) -> None:
        """Make it run `version`, stopped or missing ones too; already so: no effect. Does not wait for health."""

    def start(self, target: Target) -> None:
        """Start it; already running: no effect. Raises ProviderError for one that was never deployed."""

    def stop(self, target: Target) -> None:
        """Stop it; already stopped or missing: no effect."""

    def restart(self, target: Target, *, generation: int) -> None:
        """Compare and set: boots it once, only while its generation is `generation`; otherwise no effect."""

    def destroy(self, target: Target) -> None:
        """Stop it and remove all it has; already missing: no effect."""

    def apply_many(self, orders: Sequence[tuple[Target, str]]) -> Outcomes:
        """`apply` for each (target, version)."""

    def restart_many(self, orders: Sequence[tuple[Target, int]]) -> Outcomes:
        """`restart` for each (target, generation)."""

    def start_many(self, targets: Sequence[Target]) -> Outcomes:
        """`start` for each."""

    def stop_many(self, targets: Sequence[Target]) -> Outcomes:
        """`stop` for each."""

    def logs(self, target: Target, *, limit: int = 200, after: str = "") -> LogPage:
        """The last `limit` lines, or the first `limit` since the cursor `after`."""

    def metrics(self, target: Target) -> list[Sample]:
        """What it measures now; raises ProviderUnavailable when it does not run."""

    def diagnostics(self, target: Target) -> dict[str, str]:
        """Texts by name for a diagnostics bundle; no secrets."""

    def place(self, target: Target) -> None:
        """Have it serve `target.tenants` and no others from the next request on; no restart. Missing: ProviderError."""

    def serves(self, target: Target, tenants: Sequence[str]) -> set[str]:
        """Which of these tenants it really serves now, by a request for each; none when it does not run."""

    def scale(self, target: Target, *, workers: int) -> None:
        """Let it have so many requests in hand at once; no restart; already so: no effect."""

    def workers(self, target: Target) -> int:
        """How many it has, by its own word; raises ProviderUnavailable when it does not run."""

    def disk(self, target: Target) -> DiskUse:
        """What it holds on its disk; also of a stopped instance."""

    def clear_disk(self, target: Target) -> None:
        """Remove logs that were turned, leavings and overlong logs; nothing there: no effect. What it serves stays."""

    def commands(self, target: Target) -> list[Command]:
        """The commands that its release offers."""

    def run_command(
        self, target: Target, name: str, arguments: Mapping[str, str], *, key: str
    ) -> CommandResult:
        """Run one of `commands`, without a shell. The same `key` again gives the first result and runs nothing.

        Raises ProviderError for what is not offered, and, not retryable, where one that must not be repeated was
        begun and nobody knows how it ended.
        """

    def present_certificate(
        self, target: Target, *, chain_pem: bytes, key_pem: bytes, root_pem: bytes = b""
    ) -> None:
        """Serve this certificate from the next handshake on; no open connection is dropped.

        `root_pem`: its chain ends there, and who looks at instances trusts that root from now on.
        """

    def restore_certificate(self, target: Target, *, fingerprint: str) -> None:
        """Serve again the certificate with this SHA-256, which it served lately; it serves that: no effect."""

    def served_certificate(self, target: Target) -> ServedCertificate:
        """What it serves now, seen by a real handshake; trust is not judged here."""

    def versions(self) -> list[str]:
        """The versions that it can run, in natural order."""


class OneByOne:
    """Gives a provider the `*_many` calls by looping over the single ones."""

    def apply_many(self: Provider, orders: Sequence[tuple[Target, str]]) -> Outcomes:
        """`apply` for each (target, version); an error of one does not stop the rest."""
        return _each((t.instance_id, partial(self.apply, t, version=v)) for t, v in orders)

    def restart_many(self: Provider, orders: Sequence[tuple[Target, int]]) -> Outcomes:
        """`restart` for each (target, generation); an error of one does not stop the rest."""
        return _each((t.instance_id, partial(self.restart, t, generation=g)) for t, g in orders)

    def start_many(self: Provider, targets: Sequence[Target]) -> Outcomes:
        """`start` for each; an error of one does not stop the rest."""
        return _each((t.instance_id, partial(self.start, t)) for t in targets)

    def stop_many(self: Provider, targets: Sequence[Target]) -> Outcomes:
        """`stop` for each; an error of one does not stop the rest."""
        return _each((t.instance_id, partial(self.stop, t)) for t in targets)


def _each(calls: Iterable[tuple[int, Callable[[], None]]]) -> Outcomes:
    outcomes: Outcomes = {}
    for instance_id, call in calls:
        try:
            call()
        except ProviderError as error:
            outcomes[instance_id] = error
        else:
            outcomes[instance_id] = None
    return outcomes
