"""What the audit page reads of the trail."""

from dataclasses import dataclass
from typing import Any

from auditlog.registry import auditlog
from django.contrib.contenttypes.models import ContentType
from django.urls import NoReverseMatch, reverse

from apps.access.choices import Permission
from apps.access.scoping import visible

from .models import AuditEntry, TrailQuerySet

#: Columns that no page shows.
UNUSED = ("serialized_data", "changes_text", "actor_email")


def trail(user: Any) -> TrailQuerySet:
    """Entries that `user` may read, newest first. The trail is no tenant's: it takes the permission on everything."""
    rows: Any = visible(user, AuditEntry, Permission.SEE_AUDIT)
    found: TrailQuerySet = (
        rows.select_related("actor", "content_type").defer(*UNUSED).order_by("-timestamp", "-pk")
    )
    return found


def model_choices() -> list[tuple[str, str]]:
    """The models that are recorded, for a chooser: (app.model, name)."""
    pairs = [(model._meta.label_lower, str(model._meta.verbose_name)) for model in auditlog.get_models()]
    return sorted(pairs, key=lambda pair: pair[1])


def object_url(content_type: ContentType, object_id: int | None) -> str:
    """The page of the row that an entry is about, by the house's naming (`fleet:instance`); empty where there is none."""
    try:
        return (
            reverse(f"{content_type.app_label}:{content_type.model}", args=[object_id]) if object_id else ""
        )
    except NoReverseMatch:
        return ""


def operation_url(operation_id: int | None) -> str:
    """The page of the operation that answers for a change."""
    try:
        return reverse("operations:operation", args=[operation_id]) if operation_id else ""
    except NoReverseMatch:
        return ""


@dataclass(frozen=True, slots=True)
class Change:
    """One column before and after; of a relation, what was added or removed."""

    name: str
    before: str
    after: str


def changes_of(entry: AuditEntry) -> list[Change]:
    """What an entry says was changed, without what stayed empty. Empty values are an empty text."""
    found = []
    for name, change in (entry.changes or {}).items():
        if isinstance(change, dict):
            names = ", ".join(str(obj) for obj in change.get("objects", []))
            added = change.get("operation") == "add"
            found.append(Change(name, "" if added else names, names if added else ""))
        else:
            before, after = ("" if value in (None, "None") else str(value) for value in change)
            found.append(Change(name, before, after))
    return [change for change in found if change.name != "id" and (change.before or change.after)]
