"""Where these pages lead back to."""

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def safe_next(request: HttpRequest, default: str) -> str:
    """Where `next` leads back to, when that is within this site."""
    back = (request.POST if request.method == "POST" else request.GET).get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return back if back and safe else default
