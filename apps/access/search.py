"""What ⌘K finds everywhere: the pages of the rail, and for who manages access the people."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.urls import NoReverseMatch, reverse

from apps.core import navigation
from apps.core.palette import Hit

from .choices import Permission
from .models import User
from .scoping import holds
from .services import people


def find_pages(user: Any, text: str, limit: int) -> Iterable[Hit]:
    """Lines of the rail whose label begins with the text, or has a word that does; `go to fleet` too."""
    wanted = text.lower().removeprefix("go to").strip()
    hits = []
    for item in navigation.items():
        label = item.label.lower()
        if wanted and f" {label}".find(f" {wanted}") >= 0 and holds(user, item.permission):
            score = 1.0 if label == wanted else 0.9
            hits.append(Hit("Page", f"Go to {item.label}", reverse(item.url_name), item.group, score))
    return hits[:limit]


def find_people(user: Any, text: str, limit: int) -> Iterable[Hit]:
    """People by name or e-mail, for who may give and take access. There are few, so no index is needed."""
    if len(text) < 2 or not holds(user, Permission.MANAGE_ACCESS):
        return []
    words = (
        Q(username__icontains=text)
        | Q(email__icontains=text)
        | Q(first_name__icontains=text)
        | Q(last_name__icontains=text)
    )
    found = people().filter(words).order_by("username")[:limit]
    return [_person(one, text.lower()) for one in found if _url(one)]


def _person(person: User, text: str) -> Hit:
    names = [person.username.lower(), person.email.lower(), str(person).lower()]
    score = 1.0 if text in names else (0.86 if any(name.startswith(text) for name in names) else 0.71)
    return Hit("Person", str(person), _url(person), person.email, score)


def _url(person: User) -> str:
    """The person's page, or "" where there is none (yet)."""
    for name in ("access:person", "admin:access_user_change"):
        try:
            return reverse(name, args=[person.pk])
        except NoReverseMatch:
            continue
    return ""
