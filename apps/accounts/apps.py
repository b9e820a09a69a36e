from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Cloud accounts and regions."""

    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        from . import registers

        registers.register()
