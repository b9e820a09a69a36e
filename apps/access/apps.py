from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Who may: users, scopes, roles, grants."""

    name = "apps.access"
    label = "access"

    def ready(self) -> None:
        from . import checks, registers  # noqa: F401 - the checks register themselves

        registers.register()
