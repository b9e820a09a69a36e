"""What an instance wrote, read from its provider."""

from dataclasses import dataclass, field
from typing import Any

from .. import providers
from ..models import Instance
from ..providers.base import LogLine, ProviderError
from ..targets import provider_targets

#: Lines that are looked through for a tenant's or a request's.
LOOKED_THROUGH = 2_000
#: Lines when the page opens, and at most in one poll.
LINES = 200


@dataclass(frozen=True, slots=True)
class Tail:
    """Lines, oldest first; `cursor` gets what comes after. `error`: why there are none, for people."""

    lines: list[LogLine] = field(default_factory=list)
    cursor: str = ""
    error: str = ""


def tail(
    instance: Instance, *, after: str = "", limit: int = LINES, tenant: str = "", request: str = ""
) -> Tail:
    """The last lines of an instance, or the first since the cursor `after`. Never raises for a provider's fault.

    With a tenant's key or a request's id, of these only, among the last LOOKED_THROUGH.
    """
    read = LOOKED_THROUGH if tenant or request else limit
    for name, targets in provider_targets([instance.pk]).items():
        try:
            page = providers.get(name).logs(targets[instance.pk], limit=read, after=after)
        except (ProviderError, LookupError) as error:
            return Tail(cursor=after, error=str(error))
        lines = [
            line for line in page.lines if tenant in ("", line.tenant) and request in ("", line.request_id)
        ]
        return Tail(lines if after else lines[-limit:], page.cursor)
    return Tail(cursor=after, error="The instance is gone.")


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
