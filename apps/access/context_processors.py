"""What the shell around each page shows."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from apps.core import navigation

from .scoping import holds


def shell(request: HttpRequest) -> dict[str, Any]:
    """The rail's groups for this reader; nothing for who is not signed in, nothing for a part of a page."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.headers.get("HX-Request"):
        return {}
    groups: dict[str, list[dict[str, Any]]] = {}
    urls = {item: reverse(item.url_name) for item in navigation.items() if holds(user, item.permission)}
    # Of lines that lead to addresses one below the other, only the nearest is where one is.
    around = [
        url for url in urls.values() if request.path == url or (url != "/" and request.path.startswith(url))
    ]
    here = max(around, key=len, default="")
    for item, url in urls.items():
        line = {"label": item.label, "url": url, "active": url == here, "key": item.key}
        groups.setdefault(item.group, []).append(line)
    return {
        "nav": [{"label": label, "items": items} for label, items in groups.items()],
        "palette_enabled": True,
        "bar_url": reverse("core:bar"),
    }
