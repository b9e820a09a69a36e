"""What the bar says of access on every page: what waits for the reader's decision, explanation or review."""

from typing import Any

from django.urls import reverse

from . import asking, breaking


def parts(user: Any) -> list[dict[str, Any]]:
    """Live parts; nothing where nothing waits."""
    found: list[dict[str, Any]] = []
    if waiting := asking.for_decision(user).count():
        url = reverse("access:requests") + "?state=waiting"
        label = "access request" if waiting == 1 else "access requests"
        found.append({"label": label, "count": waiting, "url": url, "tone": "warn"})
    if owed := breaking.unexplained(user).count():
        url = reverse("access:broken") + "?mine=1"
        found.append({"label": "broken glass to explain", "count": owed, "url": url, "tone": "bad"})
    if unreviewed := breaking.for_review(user).count():
        url = reverse("access:broken")
        found.append({"label": "broken glass to review", "count": unreviewed, "url": url, "tone": "bad"})
    return found
