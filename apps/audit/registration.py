"""Registers every model of ours with auditlog; a model stays out only by its own stated reason."""

from auditlog.registry import auditlog
from django.apps import apps

PREFIX = "apps."


def register_models() -> None:
    """Register each model of `apps.*` that does not carry AUDIT_EXEMPT. Every model has this one way in."""
    for model in apps.get_models():
        if not model.__module__.startswith(PREFIX) or getattr(model, "AUDIT_EXEMPT", ""):
            continue
        many_to_many = {field.name for field in model._meta.many_to_many}
        auditlog.register(
            model, exclude_fields=list(getattr(model, "AUDIT_EXCLUDE", ())), m2m_fields=many_to_many or None
        )
