"""allauth: nobody signs themselves up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from .addresses import client_ip


class ClosedAccountAdapter(DefaultAccountAdapter):
    """Accounts are made by an administrator; the sign-up page says so."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """As everywhere in the portal; a request without an address counts as local."""
        return client_ip(request) or "127.0.0.1"
