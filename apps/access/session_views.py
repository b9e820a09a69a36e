"""Sessions: one's own, and those of others for who manages access on everything."""

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from apps.core.context import acting
from apps.core.events import event, record

from . import roles
from .choices import Permission, UserKind
from .models import User
from .tabs import tabs
from .views_base import needs, signed_in


@signed_in("one's own sessions")
def sessions(request: HttpRequest) -> HttpResponse:
    """Where one is signed in."""
    user: Any = request.user
    found = sorted(UserSession.objects.purge_and_list(user), key=lambda one: one.last_seen_at, reverse=True)
    here = request.session.session_key
    rows = [(one, browser_of(one.user_agent), one.session_key == here) for one in found]
    return render(request, "access/sessions.html", {"rows": rows, "tabs": tabs(request, "sessions")})


@needs(Permission.VIEW, methods=("POST",))
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own."""
    _end([get_object_or_404(UserSession, pk=pk, user_id=request.user.pk)], request.user, request.user)
    messages.success(request, "That session has ended.")
    return redirect("access:sessions")


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def end_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    """End all sessions of somebody: a lost laptop, a leaver."""
    person = get_object_or_404(User, pk=pk, kind=UserKind.PERSON)
    roles.require_edit(request.user)
    count = _end(UserSession.objects.filter(user=person), person, request.user)
    messages.success(request, f"Ended: {count} of {person}.")
    return redirect("access:person", pk)


#: What a browser calls itself by, the rarer names first: most also say Safari, and Edge says Chrome.
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"))  # fmt: skip
SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"), ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip


def browser_of(user_agent: str) -> str:
    """A browser in words that its owner knows it by: “Chrome on Linux”; what it calls itself where that says nothing."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(part for part in (browser, system) if part) or user_agent[:80] or "unknown"


def _end(rows: Any, person: Any, actor: Any) -> int:
    found = list(rows)
    with transaction.atomic(durable=True), acting(actor, reason="ends sessions"):
        for one in found:
            one.end()
        words = f"{actor} ended {len(found)} session{'' if len(found) == 1 else 's'} of {person}"
        record([event("session.ended", words)])
    return len(found)
