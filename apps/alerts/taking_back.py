"""Which version an instance had before its last deploy."""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from apps.access.services import system_actor
from apps.operations.models import Operation

#: A deploy that may be taken back is at most this old.
TAKES_BACK = timedelta(hours=24)


def replaced_by(rows: QuerySet[Operation]) -> QuerySet[Operation]:
    """Of these operations, the deploys that may be taken back; a recovery's own do not count."""
    return rows.filter(
        target_type="instance", kind="deploy", created_at__gte=timezone.now() - TAKES_BACK
    ).exclude(actor=system_actor("recovery"))


def version_before(instance_id: int) -> str:
    """What the last deploy of the last 24 hours replaced; "" where there was none."""
    last = replaced_by(Operation.objects.filter(target_id=instance_id)).order_by("-id").first()
    return str(last.notes.get("wanted_before", "")) if last else ""
