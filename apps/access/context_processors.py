"""What the shell around each page shows."""

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse

from apps.core import navigation

from .choices import Permission
from .scoped import reader_of
from .scoping import holds, scopes_of

#: Seconds that the words beside the reader's name are kept; what they may do is asked anew on every request.
SUMMARY_SECONDS = 60


def _role_summary(user: Any) -> str:
    """Beside the name: the reader's roles and on what, the first two of them."""
    if user.is_superuser:
        return "superuser"
    key = f"roles:{user.pk}:{scopes_of(user, Permission.VIEW).digest}"
    return str(cache.get_or_set(key, lambda: _roles_in_words(user), SUMMARY_SECONDS))


def _roles_in_words(user: Any) -> str:
    grants = [
        str(grant) for grant in user.grants.select_related("role", "scope").order_by("role__name", "pk")[:3]
    ]
    words = [text.partition(" to ")[0].replace(" on everything", "").replace(" on ", ", ") for text in grants]
    return " · ".join(words[:2]) + (" …" if len(words) > 2 else "")


def shell(request: HttpRequest) -> dict[str, Any]:
    """The rail's groups for this reader; nothing for who is not signed in, nothing for a part of a page."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.headers.get("HX-Request"):
        return {}
    reader = reader_of(user)
    groups: dict[str, list[dict[str, Any]]] = {}
    shown = [(item, reverse(item.url_name)) for item in navigation.items() if holds(reader, item.permission)]
    here = max((url for _, url in shown if _is_within(request.path, url)), key=len, default="")
    for item, url in shown:
        groups.setdefault(item.group, []).append(
            {"label": item.label, "url": url, "active": url == here, "key": item.key}
        )
    return {
        "nav": [{"label": label, "items": items} for label, items in groups.items()],
        "role_summary": _role_summary(user),
        "palette_enabled": True,
        "bar_url": reverse("core:bar"),
    }


def _is_within(path: str, url: str) -> bool:
    """Whether a page lies under a line of the rail; of several the longest is the one where one is."""
    return path == url or (url != "/" and path.startswith(url))
