"""What the bar says of incidents."""

from typing import Any

from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import holds, visible
from apps.core.choices import Tone

from .choices import OPEN_INCIDENT
from .models import Incident


def open_incidents(user: Any) -> int:
    """How many incidents go on that `user` sees."""
    return visible(user, Incident.objects.filter(state__in=OPEN_INCIDENT)).count()


def bar_parts(user: Any) -> list[dict[str, Any]]:
    """“N incidents”, where there are any."""
    if not holds(user, Permission.VIEW) or not (count := open_incidents(user)):
        return []
    label = "incident" if count == 1 else "incidents"
    url = f"{reverse('alerts:incidents')}?state=open"
    return [{"label": label, "count": count, "url": url, "tone": Tone.BAD}]
