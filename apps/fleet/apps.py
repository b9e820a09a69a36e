from django.apps import AppConfig


class FleetConfig(AppConfig):
    """Cells, instances, placements, providers."""

    name = "apps.fleet"
    label = "fleet"

    def ready(self) -> None:
        from . import registers

        registers.register()
