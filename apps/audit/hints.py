"""What the clock asks of the trail. The clock stands above (apps.operations), so it takes these rather than being told."""

from collections.abc import Callable

from django.conf import settings

Hint = tuple[str, float, Callable[[], None]]


def every() -> list[Hint]:
    """Name, seconds between, and what to send."""
    return [
        ("seal the trail", settings.AUDIT_SEAL_SECONDS, _send("seal")),
        ("stream the trail", settings.AUDIT_SEAL_SECONDS, _send("stream")),
        ("check the trail", 600.0, _send("check")),
        ("months of the trail", 21_600.0, _send("make_months")),
    ]


def _send(name: str) -> Callable[[], None]:
    def send() -> None:
        # Late: an actor can be made only once the broker is there.
        from . import actors

        getattr(actors, name).send()

    return send
