from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Durable operations: how anything is done."""

    name = "apps.operations"
    label = "operations"

    def ready(self) -> None:
        from . import registers

        registers.register()
