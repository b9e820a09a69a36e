"""Writing events."""

from collections.abc import Iterable
from typing import Any

from .choices import Tone
from .context import MissingActor, current
from .models import Event


def event(
    kind: str, title: str, *, why: str = "", tone: str = Tone.PLAIN, actor: Any = None, **context: Any
) -> Event:
    """An event not yet written; its actor and reason come from the act under way unless given.

    `context` takes `at`, `operation_id`, `instance_id`, `tenant_id`, `cell_id`, `account_id`.
    """
    act = current()
    who = actor if actor is not None else (act.actor if act else None)
    if who is None:
        raise MissingActor(f"The event {kind}")
    return Event(
        kind=kind,
        title=title[:300],
        why=why or (act.reason if act else ""),
        tone=tone,
        actor_id=who.pk,
        **context,
    )


def record(events: Iterable[Event]) -> None:
    """Write events in one statement, in the caller's transaction."""
    Event.objects.bulk_create(list(events), batch_size=2_000)
