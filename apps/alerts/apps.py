from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Told before the customer is: signals, alerts, incidents, on-call, recovery."""

    name = "apps.alerts"
    label = "alerts"

    def ready(self) -> None:
        from . import registers

        registers.register()
