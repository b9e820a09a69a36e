from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Ground: base models, events, registries, the shell's helpers."""

    name = "apps.core"
    label = "core"
