"""What the shell around each page shows."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from apps.core import navigation

from .scoping import holds


def _role_summary(user: Any) -> str:
    """Beside the name: the reader's roles and on what, the first two of them."""
    if user.is_superuser:
        return "superuser"
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
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in navigation.items():
        if holds(user, item.permission):
            url = reverse(item.url_name)
            active = request.path == url or (url != "/" and request.path.startswith(url))
            groups.setdefault(item.group, []).append(
                {"label": item.label, "url": url, "active": active, "key": item.key}
            )
    return {
        "nav": [{"label": label, "items": items} for label, items in groups.items()],
        "role_summary": _role_summary(user),
        "palette_enabled": True,
        "bar_url": reverse("core:bar"),
    }
