"""Bills fetched from object storage: what is new or changed under a source's address comes in as if it were uploaded."""

from collections.abc import Sequence
from hashlib import sha256

from django.db import transaction
from django.utils import timezone

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.core.events import event, record

from . import buckets, importing
from .buckets import Object
from .models import Bill, BillSource
from .store import Unusable


def receive_url(url: str, *, actor: User) -> tuple[list[tuple[Bill, bool]], list[str]]:
    """Take in what lies at an address; see `importing.receive_folder`. Raises Unusable where nothing can be read there."""
    made, refused = [], []
    for objects in buckets.deliveries(url):
        try:
            made.append(importing.receive_objects(objects, actor=actor))
        except Unusable as error:
            refused.append(str(error))
    return made, refused


def fetch_all() -> int:
    """Look at every source; gives the bills that came. One that cannot be read says so and holds up no other."""
    return sum(fetch(pk) for pk in BillSource.objects.order_by("pk").values_list("pk", flat=True))


def fetch(source_id: int) -> int:
    """Look at one source; gives the bills that came. What was taken in before and is as it was is not brought again."""
    source = BillSource.objects.filter(pk=source_id).first()
    if source is None:
        return 0
    came, problems, seen = 0, list[str](), dict(source.seen)
    actor = system_actor("bills")
    try:
        for objects in buckets.deliveries(source.url):
            name, mark = objects[0].key, mark_of(objects)
            if seen.get(name) == mark:
                continue
            try:
                _, is_new = importing.receive_objects(objects, actor=actor)
            except Unusable as error:
                problems.append(str(error))
            else:
                seen[name] = mark
                came += is_new
    except Unusable as error:
        problems.append(str(error))
    _tell(source, came, seen, " ".join(problems)[:500])
    return came


def mark_of(objects: Sequence[Object]) -> str:
    """The same as long as each object is: what a delivery's names, tags and sizes come to."""
    told = "\n".join(f"{one.key} {one.etag} {one.size}" for one in objects)
    return sha256(told.encode()).hexdigest()


def _tell(source: BillSource, came: int, seen: dict[str, str], error: str) -> None:
    with transaction.atomic(), acting(system_actor("bills"), reason="source looked at", via="system"):
        BillSource.objects.filter(pk=source.pk).unrecorded_update(
            looked_at=timezone.now(), seen=seen, error=error
        )
        if came:
            record([event("bills.fetched", f"{came} bill{'' if came == 1 else 's'} came from {source.url}")])
        if error and error != source.error:
            record(
                [
                    event(
                        "bills.unreachable",
                        f"Bills cannot be fetched from {source.url}",
                        why=error,
                        tone="bad",
                    )
                ]
            )
