from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Who may: users, scopes, roles, grants."""

    name = "apps.access"
    label = "access"
