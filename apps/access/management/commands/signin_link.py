"""`manage.py signin_link`: a link that signs one person in, once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from sesame.utils import get_query_string

from apps.access.models import User


class Command(BaseCommand):
    help = "Print the path of a one-time sign-in link (ten minutes). Only where DAYTWO_SIGNIN_LINKS is on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", default="admin")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SIGNIN_LINKS:
            raise CommandError("Sign-in links are off here; set DAYTWO_SIGNIN_LINKS=1 to allow them.")
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(
                f"There is no active user “{options['user']}”; `manage.py bootstrap` makes admin."
            )
        self.stdout.write(reverse("access:signin_link") + get_query_string(user))
