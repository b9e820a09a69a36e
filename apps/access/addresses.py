"""From where a request comes: the address that lock-outs, sessions and the trail go by."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_ip(request: HttpRequest) -> str | None:
    """The client's address. Of X-Forwarded-For only what our own proxies wrote is believed (settings.TRUSTED_PROXIES)."""
    found = request.META.get("REMOTE_ADDR")
    if settings.TRUSTED_PROXIES:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if len(hops) >= settings.TRUSTED_PROXIES:
            found = hops[-settings.TRUSTED_PROXIES]
    try:
        return str(ip_address(found)) if found else None
    except ValueError:
        return None


def typed_name(request: HttpRequest, credentials: dict[str, str] | None = None) -> str | None:
    """Whose account a sign-in is for, as typed: the half of the lock-out's key that is not the address."""
    given = credentials or {}
    name = given.get("username") or given.get("email") or request.POST.get("login")
    return name.strip().lower()[:150] if name else None
