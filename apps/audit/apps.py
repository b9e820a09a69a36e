from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did: the trail."""

    name = "apps.audit"
    label = "audit"

    def ready(self) -> None:
        from . import checks, registers, signins  # noqa: F401 - checks register themselves
        from .registration import register_models

        register_models()
        registers.register()
        signins.connect()
