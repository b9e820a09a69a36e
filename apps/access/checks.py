"""What `manage.py check` finds before a user does. Each message says what to do.

Errors stop every management command, so a production portal that is not fit for it does not
come up; what only weakens it is told by `check --deploy`.
"""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import URLPattern, URLResolver, get_resolver

ENVIRONMENTS = ("development", "production")
#: Numbers that have to be above 0, and what they count.
ABOVE_ZERO = {
    "OPERATIONS_LEASE_SECONDS": "for how many seconds a worker owns an operation without a sign of life",
    "OPERATIONS_BATCH": "how many operations a worker claims at once",
    "OPERATIONS_PROBE_SECONDS": "the seconds between two looks at the fleet",
    "HISTORY_DAYS": "for how many days charts have figures",
    "EVENTS_DAYS": "for how many days timelines tell what happened",
    "SESSION_IDLE_SECONDS": "the seconds without a person after which a session ends",
    "ACCESS_MAX_HOURS": "the longest access that can be asked for",
    "SESSION_COOKIE_AGE": "the seconds until one must sign in again",
}
SHORTEST_LEASE = 2.0
#: Days: a month goes as a whole, so that with less an incident of this quarter may have no timeline any more.
FEWEST_EVENTS_DAYS = 90


@register(Tags.security)
def check_environment(**_: Any) -> list[CheckMessage]:
    """DAYTWO_ENV is a word we know; a misspelt “production” would run with a laptop's settings."""
    if settings.DAYTWO_ENV in ENVIRONMENTS:
        return []
    return [
        Error(
            f"DAYTWO_ENV is “{settings.DAYTWO_ENV}”, which is nothing.",
            hint=f"Set it to {' or '.join(ENVIRONMENTS)}; left out, it is development.",
            id="daytwo.E001",
        )
    ]


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    """PostgreSQL, and only PostgreSQL."""
    engine = str(settings.DATABASES["default"].get("ENGINE", ""))
    if engine.endswith("postgresql"):
        return []
    return [
        Error(
            f"DATABASE_URL names {engine or 'no database'}; Daytwo needs PostgreSQL 15 or newer.",
            hint="Set DATABASE_URL to postgresql://user:password@host:5432/daytwo, or unset it and run `make up`.",
            id="daytwo.E002",
        )
    ]


@register(Tags.security)
def check_numbers(**_: Any) -> list[CheckMessage]:
    """Numbers with which nothing would ever run, or everything twice."""
    found: list[CheckMessage] = [
        Error(
            f"{name} is {getattr(settings, name)}: it is {what}, so it must be above 0.",
            hint=f"Leave {name} out for its default (docs/reference/settings.md).",
            id="daytwo.E003",
        )
        for name, what in ABOVE_ZERO.items()
        if getattr(settings, name) <= 0
    ]
    lease = settings.OPERATIONS_LEASE_SECONDS
    if 0 < lease < SHORTEST_LEASE:
        found.append(
            Warning(
                f"OPERATIONS_LEASE_SECONDS is {lease:g}: a worker that is only slow for a moment loses its operations.",
                hint=f"Set it to {SHORTEST_LEASE:g} or more; 10 is the default.",
                id="daytwo.W001",
            )
        )
    days = settings.EVENTS_DAYS
    if 0 < days < FEWEST_EVENTS_DAYS:
        found.append(
            Warning(
                f"EVENTS_DAYS is {days}: incidents and operations of this quarter may have no timeline any more.",
                hint=f"Set it to {FEWEST_EVENTS_DAYS} or more; 400 is the default.",
                id="daytwo.W005",
            )
        )
    return found


@register(Tags.security)
def check_production(**_: Any) -> list[CheckMessage]:
    """A production portal with anything that is only fit for a laptop does not start."""
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.SECRET_KEY == settings.INSECURE_KEY:
        found.append(
            Error(
                "SECRET_KEY is the development key, which everybody knows: anybody could sign themselves in.",
                hint="Set SECRET_KEY to 50 random characters or more, the same for all processes.",
                id="daytwo.E010",
            )
        )
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        found.append(
            Error(
                "ALLOWED_HOSTS names no host under which the portal answers."
                if not settings.ALLOWED_HOSTS
                else "ALLOWED_HOSTS holds *: links in mails could be made to lead anywhere.",
                hint="Set ALLOWED_HOSTS to the host names in the address bar, separated by commas.",
                id="daytwo.E011",
            )
        )
    if settings.DEBUG:
        found.append(
            Error(
                "DEBUG is on: error pages would show settings and data to everybody.",
                hint="Unset DEBUG.",
                id="daytwo.E012",
            )
        )
    if settings.SIGNIN_LINKS:
        found.append(
            Error(
                "DAYTWO_SIGNIN_LINKS is on: whoever may run a command on this machine can sign in as anybody.",
                hint="Unset DAYTWO_SIGNIN_LINKS; people sign in by password and second factor, or by passkey.",
                id="daytwo.E013",
            )
        )
    return found


@register(Tags.security, deploy=True)
def check_laptop(**_: Any) -> list[CheckMessage]:
    """`check --deploy` asks about a deployment, so it says when this is none."""
    if settings.PRODUCTION or settings.DAYTWO_ENV not in ENVIRONMENTS:
        return []
    return [
        Warning(
            "DAYTWO_ENV is development: no TLS redirect, no secure cookies, sign-in links allowed.",
            hint="Set DAYTWO_ENV=production where anybody but you can reach the portal.",
            id="daytwo.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_who_is_told(**_: Any) -> list[CheckMessage]:
    """An alarm that nobody hears, or a change without a second factor."""
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if not settings.SECURITY_EMAIL:
        hint = "Set SECURITY_EMAIL to an address that somebody reads at any hour."
        found.append(Warning("Nobody is told when glass is broken.", hint=hint, id="daytwo.W003"))
    if not settings.REQUIRE_MFA:
        hint = "Unset REQUIRE_MFA: it is on in production."
        found.append(Warning("People change the fleet without a second factor.", hint=hint, id="daytwo.W004"))
    return found


@register(Tags.urls)
def check_routes(**_: Any) -> list[CheckMessage]:
    """Every view of ours declares who may reach it."""
    return [
        Error(
            f"The address {path} is served by {view.__module__}.{getattr(view, '__name__', view)}, which declares no permission.",
            hint="Decorate it with access.views_base.needs(…), signed_in(why) or public(why).",
            id="daytwo.E020",
        )
        for path, view in _views(get_resolver().url_patterns)
        if view.__module__.startswith("apps.") and not hasattr(view, "declared_permission")
    ]


def _views(patterns: Any, path: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":  # FixSite asks for each of its pages itself
                yield from _views(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here, pattern.callback
