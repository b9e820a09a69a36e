"""What people read of an instance that has to be recorded."""

from typing import Any

from auditlog import get_logentry_model
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from apps.core.context import acting

from .models import Diagnostics, Instance


def record_reading(obj: Instance | Diagnostics, *, actor: Any, what: str) -> None:
    """Write into the audit trail that `actor` read something that may hold tenants' data."""
    entry = get_logentry_model()
    with transaction.atomic(), acting(actor, reason=what):
        entry(
            content_type=ContentType.objects.get_for_model(type(obj)),
            object_pk=str(obj.pk),
            object_id=obj.pk,
            object_repr=str(obj)[:500],
            action=entry.Action.ACCESS,
            changes={},
        ).save()
