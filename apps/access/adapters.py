"""allauth: nobody signs themselves up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class ClosedAccountAdapter(DefaultAccountAdapter):
    """Accounts are made by an administrator; the sign-up page says so."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
