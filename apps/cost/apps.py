from django.apps import AppConfig


class CostConfig(AppConfig):
    """Bills, allocation, cost and margin of tenants."""

    name = "apps.cost"
    label = "cost"

    def ready(self) -> None:
        from . import registers

        registers.register()
