"""A queryset whose bulk writes are recorded like single ones.

Django's `update`, `bulk_create` and `bulk_update` send no signals, so an audit trail built on
signals does not see them. Every model of ours uses this queryset, so such a write records
before and after itself; what must not be recorded (a lease, a heartbeat, an observed metric)
is named on the model as `AUDIT_EXCLUDE` and only then passes silently.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeVar

from auditlog import get_logentry_model
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction

M = TypeVar("M", bound=models.Model)

CREATE, UPDATE = 0, 1


def is_recorded(model: type[models.Model]) -> bool:
    """Whether changes of this model belong in the audit trail."""
    return not getattr(model, "AUDIT_EXEMPT", "")


def recorded_fields(model: type[models.Model], names: Iterable[str] | None = None) -> list[str]:
    """Names of the model's columns that the trail keeps, of `names` or of all; those that auditlog's own diff has."""
    excluded = set(getattr(model, "AUDIT_EXCLUDE", ()))
    wanted = None if names is None else set(names)
    return [
        field.name
        for field in model._meta.concrete_fields
        if not field.primary_key
        and field.name not in excluded
        and (wanted is None or field.name in wanted or field.attname in wanted)
    ]


def as_text(value: Any) -> str:
    """A value as the trail shows it; the same words as auditlog's own diff."""
    return "None" if value is None else str(value)


def write_entries(
    model: type[models.Model], action: int, rows: Sequence[tuple[int, str, dict[str, Any]]]
) -> None:
    """Write one audit entry for each `(pk, label, changes)` in as few statements as there are batches."""
    if not rows:
        return
    entry = get_logentry_model()
    content_type = ContentType.objects.get_for_model(model)
    entries = [
        entry(
            content_type=content_type,
            object_pk=str(pk),
            object_id=pk,
            object_repr=label[:500],
            action=action,
            changes=changes,
        )
        for pk, label, changes in rows
    ]
    for one in entries:
        one.attribute()
    models.QuerySet(entry).bulk_create(entries, batch_size=2_000)


class RecordedQuerySet(models.QuerySet[M]):
    """See the module. `unrecorded_update` is for columns in AUDIT_EXCLUDE, and raises for any other."""

    def update(self, **kwargs: Any) -> int:
        """As Django's, and one audit entry for each row that really changed, in one transaction."""
        watched = recorded_fields(self.model, kwargs) if is_recorded(self.model) else []
        if not watched:
            return super().update(**kwargs)
        with transaction.atomic(using=self.db):
            # Locked in order of key, so that two writers of many rows do not wait for each other in a circle.
            plain = self.order_by("pk")
            before = {row["pk"]: row for row in plain.select_for_update(of=("self",)).values("pk", *watched)}
            if not before:
                return 0
            rows = self.model._base_manager.using(self.db).filter(pk__in=list(before))
            changed = models.QuerySet.update(rows, **kwargs)
            after = rows.values("pk", *watched)
            label = self.model._meta.verbose_name
            write_entries(
                self.model,
                UPDATE,
                [
                    (row["pk"], f"{label} {row['pk']}", diff)
                    for row in after
                    if (
                        diff := {
                            name: [as_text(before[row["pk"]][name]), as_text(row[name])]
                            for name in watched
                            if before[row["pk"]][name] != row[name]
                        }
                    )
                ],
            )
        return changed

    update.alters_data = True  # type: ignore[attr-defined]

    def unrecorded_update(self, **kwargs: Any) -> int:
        """Update observed or engine-owned columns only; raises ValueError when one of them is audited."""
        if watched := recorded_fields(self.model, kwargs):
            raise ValueError(
                f"{', '.join(watched)} of {self.model.__name__} belong in the audit trail: use update(), "
                "or name them in AUDIT_EXCLUDE with a reason."
            )
        return super().update(**kwargs)

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """As Django's, and one audit entry for each row."""
        with transaction.atomic(using=self.db):
            made = super().bulk_create(objs, *args, **kwargs)
            if is_recorded(self.model):
                if kwargs.get("ignore_conflicts") or kwargs.get("update_conflicts"):
                    raise ValueError(
                        "a recorded bulk_create cannot say which rows it made; insert and record by hand"
                    )
                record_created(made)
        return made

    def create_unrecorded(self, objs: Iterable[M], **kwargs: Any) -> list[M]:
        """`bulk_create` for a caller that writes the audit entries itself (see `record_created`)."""
        return super().bulk_create(objs, **kwargs)

    def search(self, text: str) -> Self:
        """Rows whose searchable text holds `text`; models override it."""
        return self if not text else self.none()


def record_created(objs: Sequence[models.Model]) -> None:
    """Write the audit entries of rows that were just inserted in bulk."""
    if not objs:
        return
    model = type(objs[0])
    fields: dict[str, Any] = {name: model._meta.get_field(name) for name in recorded_fields(model)}
    columns = {name: field.attname for name, field in fields.items()}
    write_entries(
        model,
        CREATE,
        [
            (
                obj.pk,
                str(obj),
                {
                    n: ["None", as_text(v)]
                    for n, c in columns.items()
                    if (v := getattr(obj, c)) not in (None, "", {}, [])
                },
            )
            for obj in objs
        ],
    )
