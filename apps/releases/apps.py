from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    """Releases, rollouts, and who is exposed to what."""

    name = "apps.releases"
    label = "releases"

    def ready(self) -> None:
        from . import registers

        registers.register()
