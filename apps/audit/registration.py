"""Registers every model of ours with auditlog; a model stays out only by its own stated reason."""

from collections.abc import Collection
from typing import Any

from auditlog.registry import auditlog
from django.apps import apps
from django.db import models
from django.db.models.signals import m2m_changed

from apps.core.querysets import UPDATE, write_entries

PREFIX = "apps."
#: Models of others that decide who may come in, and their columns that never enter the trail.
BORROWED: dict[str, tuple[str, ...]] = {
    "auth.Group": (),
    "account.EmailAddress": (),
    "mfa.Authenticator": ("data", "last_used_at"),
    "socialaccount.SocialAccount": ("extra_data", "last_login"),
}


def register_models() -> None:
    """Register each model of `apps.*` that does not carry AUDIT_EXEMPT. Every model has this one way in."""
    for model in apps.get_models():
        exempt: Any = getattr(model, "AUDIT_EXEMPT", "")
        if exempt or not model.__module__.startswith(PREFIX):
            continue
        auditlog.register(
            model, exclude_fields=[*getattr(model, "AUDIT_EXCLUDE", ()), *_others_relations(model)]
        )
        _watch_many_to_many(model)
    for label, secret in BORROWED.items():
        model = apps.get_model(label)
        auditlog.register(model, exclude_fields=[*secret, *_others_relations(model)])


def _others_relations(model: type[models.Model]) -> list[str]:
    """What other rows say of this one: their own entries tell it, and auditlog would write “app.Model.None” here."""
    return [field.name for field in model._meta.get_fields() if field.auto_created and not field.concrete]


def _watch_many_to_many(model: type[models.Model]) -> None:
    """Record who was put into what, on the row that owns the relation, from whichever side it was changed.

    Not auditlog's own handler: from the other side it records the wrong row, and a `clear` as if every row there
    is had been in the relation.
    """
    for field in model._meta.many_to_many:
        name = field.name

        def recorded(name: str = name, **signal: Any) -> None:
            _record_many_to_many(model, name, **signal)

        m2m_changed.connect(
            recorded, sender=field.remote_field.through, weak=False, dispatch_uid=("trail", model, name)
        )


def _record_many_to_many(
    owner: type[models.Model],
    field: str,
    *,
    instance: models.Model,
    action: str,
    reverse: bool,
    model: type[models.Model],
    pk_set: Collection[int] | None,
    using: str,
    **_: Any,
) -> None:
    operation = {"post_add": "add", "pre_remove": "delete", "pre_clear": "delete"}.get(action)
    if operation is None:
        return
    others = model._default_manager.using(using).order_by()
    if pk_set is not None:
        others = others.filter(pk__in=pk_set)
    if operation == "delete":  # only what really was in it
        relation: Any = owner._meta.get_field(field)
        others = others.filter(**{field if reverse else relation.related_query_name(): instance.pk})
    found = list(others)
    changes = (
        [(obj, [str(instance)]) for obj in found] if reverse else [(instance, [str(obj) for obj in found])]
    )
    write_entries(
        owner,
        UPDATE,
        [
            (obj.pk, str(obj), {field: {"type": "m2m", "operation": operation, "objects": names}})
            for obj, names in changes
            if names
        ],
    )
