from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Tenants, plans, subscriptions."""

    name = "apps.tenants"
    label = "tenants"

    def ready(self) -> None:
        from . import registers

        registers.register()
