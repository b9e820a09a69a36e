"""What is no change of a row and belongs in the trail all the same: who came in, was refused, took data out, read what is sensitive."""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction

from apps.core.context import Acting, begin, current, end

from .choices import EventKind
from .models import AuditEntry


def tell(
    event: str,
    what: str,
    *,
    actor: Any,
    about: models.Model | None = None,
    reason: str = "",
    details: dict[str, Any] | None = None,
    via: str = "page",
) -> AuditEntry:
    """Record that `actor` did something, on the row `about` where there is one; committed with what surrounds it.

    `via` is taken where no act is under way. `what` and `details` must hold nothing secret: no query, no form, no address that signs somebody in.
    """
    kind = about._meta.model if about is not None else get_user_model()  # type(…) of a lazy user is another
    act = current() or Acting(actor=actor, via=via)
    # A refusal was carried by no grant; and another's grant (a failed sign-in is the visitor's) carries nothing here.
    is_carried = event != EventKind.DENIED and act.carrier is not None and act.actor == actor
    token = begin(replace(act, actor=actor, carrier=act.carrier if is_carried else None))
    try:
        with transaction.atomic():
            entry = AuditEntry(
                content_type=ContentType.objects.get_for_model(kind),
                object_pk=str(about.pk) if about is not None else "",
                object_id=about.pk if about is not None else None,
                object_repr=what[:500],
                action=AuditEntry.Action.ACCESS,
                changes={},
                additional_data=details or None,
                event=event,
                reason=reason,
            )
            entry.save()
    finally:
        end(token)
    return entry


@dataclass(slots=True)
class _Bucket:
    since: float
    taken: int = 0
    left_out: int = 0


class Bound:
    """At most `most` entries in `seconds` for each source, so that nobody can fill the trail by being refused.

    Counted in each process. What was left out is told with the next entry that is let through.
    """

    LARGEST = 10_000  # sources remembered at once

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, source: str) -> int | None:
        """How many were left out before this one; None where this one is left out too."""
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.get(source)
            if bucket is None:
                if len(self._buckets) >= self.LARGEST:
                    self._forget(now)
                bucket = self._buckets[source] = _Bucket(now)
            elif now - bucket.since > self.seconds:
                bucket.since, bucket.taken = now, 0
            if bucket.taken >= self.most:
                bucket.left_out += 1
                return None
            bucket.taken += 1
            left_out, bucket.left_out = bucket.left_out, 0
            return left_out

    def forget(self) -> None:
        """Begin anew (tests)."""
        with self._lock:
            self._buckets.clear()

    def _forget(self, now: float) -> None:
        """Drop what is past its time; where that is nothing, all: the bound holds memory, not justice."""
        kept = {name: b for name, b in self._buckets.items() if now - b.since <= self.seconds}
        self._buckets = kept if len(kept) < self.LARGEST else {}


#: Refusals and failed sign-ins that are recorded, for each person or address.
REFUSALS = Bound(most=30, seconds=60)
