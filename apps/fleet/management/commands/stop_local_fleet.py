"""`manage.py stop_local_fleet`: ends the tenants' processes of this machine, for `make down`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.fleet import providers
from apps.fleet.providers.base import ProviderError
from apps.fleet.providers.local.provider import LocalProvider


class Command(BaseCommand):
    """Needs no database: `make down` must work when that is away. The same processes come back with `make up`."""

    help = "Stops every process of the local fleet; they are remembered and can be resumed."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Stop them all and tell their names; CommandError when one did not end."""
        provider = providers.get("local")
        assert isinstance(provider, LocalProvider)
        try:
            names = provider.stop_all()
        except (ProviderError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Stopped: {', '.join(names)}" if names else "No process of the local fleet was running."
        )
