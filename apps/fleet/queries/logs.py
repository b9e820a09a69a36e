"""What an instance wrote, read from its provider, or from a store that a floor above knows of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from apps.core.redacting import redacted

from .. import providers
from ..models import Instance
from ..providers.base import LogLine, LogPage, ProviderError
from ..query_api import Unanswered
from ..targets import provider_targets

#: Lines that are looked through for a tenant's or a request's.
LOOKED_THROUGH = 2_000
#: Lines when the page opens, and at most in one poll.
LINES = 200


class Store(Protocol):
    """Where lines of instances are kept beside their providers."""

    @property
    def words(self) -> str:
        """What it is called."""

    def lines(
        self, instance: Instance, *, limit: int, after: str = "", tenant: str = "", holds: Sequence[str] = ()
    ) -> LogPage:
        """The last lines, or those since the cursor `after`, that hold all these texts. Raises Unanswered."""


_stores: list[Callable[[Instance], Store | None]] = []


def register(find: Callable[[Instance], Store | None]) -> None:
    """Have the logs' page ask `find` whether an instance's lines are kept elsewhere too."""
    if find not in _stores:
        _stores.append(find)


def store_of(instance: Instance) -> Store | None:
    """Where else its lines are kept; the first that knows is taken."""
    return next((found for find in _stores if (found := find(instance)) is not None), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose lines: a tenant's by its key, a request's by its id, those that hold a text; empty: all."""

    tenant: str = ""
    request: str = ""
    text: str = ""

    def fits(self, line: LogLine) -> bool:
        """Whether a line is wanted."""
        return (
            self.tenant in ("", line.tenant)
            and self.request in ("", line.request_id)
            and self.text.casefold() in line.message.casefold()
        )


@dataclass(frozen=True, slots=True)
class Tail:
    """Lines, oldest first; `cursor` gets what comes after. `error`: why there are none, for people."""

    lines: list[LogLine] = field(default_factory=list)
    cursor: str = ""
    error: str = ""


ALL = Wanted()


def tail(instance: Instance, *, after: str = "", limit: int = LINES, wanted: Wanted = ALL) -> Tail:
    """The last lines of an instance from its provider, or the first since the cursor `after`. Never raises for a fault of it.

    Secrets are taken out. Of those that are wanted, among the last LOOKED_THROUGH.
    """
    read = LOOKED_THROUGH if wanted != ALL else limit
    for name, targets in provider_targets([instance.pk]).items():
        try:
            page = providers.get(name).logs(targets[instance.pk], limit=read, after=after)
        except (ProviderError, LookupError) as error:
            return Tail(cursor=after, error=str(error))
        lines = [shown(line) for line in page.lines if wanted.fits(line)]
        return Tail(lines if after else lines[-limit:], page.cursor)
    return Tail(cursor=after, error="The instance is gone.")


def stored(
    store: Store, instance: Instance, *, after: str = "", limit: int = LINES, wanted: Wanted = ALL
) -> Tail:
    """The same from a store, which looks through all it has."""
    holds = [text for text in (wanted.request, wanted.text) if text]
    try:
        page = store.lines(instance, limit=limit, after=after, tenant=wanted.tenant, holds=holds)
    except Unanswered as error:
        return Tail(cursor=after, error=str(error))
    return Tail([shown(line) for line in page.lines], page.cursor)


def shown(line: LogLine) -> LogLine:
    """A line as people may read it."""
    return replace(line, message=redacted(line.message))


def as_json(tail: Tail) -> dict[str, Any]:
    """The tail as the page's script takes it."""
    return {
        "cursor": tail.cursor,
        "error": tail.error,
        "lines": [
            {
                "at": line.at.isoformat(),
                "level": line.level,
                "message": line.message,
                "tenant": line.tenant,
                "request_id": line.request_id,
            }
            for line in tail.lines
        ],
    }
