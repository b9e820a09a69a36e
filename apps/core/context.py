"""Who acts now, why, and by which way: carried beside the call, written into every audit row and event."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any


class MissingActor(RuntimeError):
    """A change was tried with nobody to answer for it."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} has no actor. Wrap the change in `core.context.acting(actor, reason=…, via=…)`; "
            "what the system does by itself it does as `access.services.system_actor(name)`."
        )


@dataclass(frozen=True, slots=True)
class Acting:
    """One act: its actor (an `access.User`), reason, way in, and what ties its rows together."""

    actor: Any
    reason: str = ""
    via: str = "system"
    request_id: str = ""
    remote_addr: str | None = None
    operation_id: int | None = None
    #: For set-wise work: which operation answers for which row, by the row's id.
    operation_of: Mapping[int, int] = field(default_factory=dict)
    #: Tells the grant that carries what the actor does: its id and words. Asked only when something is written.
    carrier: Callable[[], tuple[int | None, str]] | None = None
    #: The emergency grant (broken glass) under which it is done: its id, or how to find it when somebody asks.
    under: "Callable[[], int | None] | int | None" = None


_current: ContextVar[Acting | None] = ContextVar("acting", default=None)


def current() -> Acting | None:
    """The act under way in this thread or request, if any."""
    return _current.get()


def under() -> int | None:
    """The id of the emergency grant under which the current act is done, if it is."""
    act = current()
    found = act.under if act else None
    return found() if callable(found) else found


def marks() -> dict[str, int] | None:
    """What every audit entry of the current act carries beside itself (`AuditEntry.additional_data`)."""
    found = under()
    return {"under": found} if found else None


def begin(act: Acting) -> Any:
    """Set the act without a with-block (for middleware); give the token back to `end`."""
    return _current.set(act)


def end(token: Any) -> None:
    """Undo `begin`."""
    _current.reset(token)


@contextmanager
def acting(
    actor: Any,
    *,
    reason: str | None = None,
    via: str | None = None,
    operation_id: int | None = None,
    operation_of: Mapping[int, int] | None = None,
) -> Iterator[Acting]:
    """Act as `actor` inside the block. What is not given is kept from the act around it.

    Raises `MissingActor` for an actor of None.
    """
    if actor is None:
        raise MissingActor("This act")
    outer = _current.get() or Acting(actor=actor)
    act = replace(
        outer,
        actor=actor,
        reason=outer.reason if reason is None else reason,
        via=outer.via if via is None else via,
        operation_id=outer.operation_id if operation_id is None else operation_id,
        operation_of=outer.operation_of if operation_of is None else operation_of,
        carrier=outer.carrier if outer.carrier is not None and outer.actor == actor else None,
    )
    token = _current.set(act)
    try:
        yield act
    finally:
        _current.reset(token)
