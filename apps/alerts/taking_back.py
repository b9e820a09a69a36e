"""Which version an instance had before its last deploy."""

from datetime import timedelta

from django.utils import timezone

from apps.access.services import system_actor
from apps.operations.models import Operation

#: A deploy that may be taken back is at most this old.
TAKES_BACK = timedelta(hours=24)


def version_before(instance_id: int) -> str:
    """What the last deploy of the last 24 hours replaced; "" where there was none. A recovery's own do not count."""
    last = (
        Operation.objects.filter(
            target_type="instance",
            target_id=instance_id,
            kind="deploy",
            created_at__gte=timezone.now() - TAKES_BACK,
        )
        .exclude(actor=system_actor("recovery"))
        .order_by("-id")
        .first()
    )
    return str(last.notes.get("wanted_before", "")) if last else ""
