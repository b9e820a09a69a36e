"""Events of incidents: on the timelines of what they touch, and on the incident's own."""

from collections.abc import Iterable
from typing import Any

from apps.core.events import event
from apps.core.models import Event

from .models import Incident, IncidentEvent


def tell(rows: Iterable[tuple[Incident, Event]]) -> None:
    """Write events and that they are these incidents' own, in the caller's transaction; two statements."""
    pairs = list(rows)
    if not pairs:
        return
    written = Event.objects.bulk_create([e for _, e in pairs], batch_size=2_000)
    IncidentEvent.objects.bulk_create(
        [IncidentEvent(incident=i, event_id=e.pk) for (i, _), e in zip(pairs, written, strict=True)]
    )


def of_incident(incident: Incident, what: str, title: str, **more: Any) -> tuple[Incident, Event]:
    """An event `incident.<what>`, not yet written; placed where the incident's cause is, if that is one place."""
    kind, _, key = incident.cause_key.partition(":")
    place: dict[str, int] = {}
    if kind in ("instance", "cell", "account") and key.isdigit():
        place = {f"{kind}_id": int(key)}
    return incident, event(f"incident.{what}", title, **{**place, **more})
