"""The Dramatiq wiring: which broker carries the hints."""

from typing import Any

import dramatiq
from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from dramatiq.middleware import default_middleware
from dramatiq_postgres.django.middleware import DbConnectionsMiddleware

#: A dead worker's message comes back after seconds, not minutes. The rows would be found anyway.
REDIS = {"heartbeat_timeout": 5_000, "maintenance_chance": 1_000_000}


class PortalConfig(AppConfig):
    """Replaces the PostgreSQL broker, which is the default, by what DRAMATIQ_BROKER_URL names."""

    name = "portal"

    def ready(self) -> None:
        if url := settings.DRAMATIQ_BROKER_URL:
            dramatiq.set_broker(broker_for(url))


def broker_for(url: str) -> dramatiq.Broker:
    """The broker for a URL: redis://, rediss://, amqp://, amqps://, or stub:// (tests). ImproperlyConfigured otherwise."""
    middleware: list[Any] = [make() for make in default_middleware] + [DbConnectionsMiddleware()]
    scheme = url.partition(":")[0]
    if scheme in ("redis", "rediss"):
        from dramatiq.brokers.redis import RedisBroker

        made: dramatiq.Broker = RedisBroker(url=url, middleware=middleware, **REDIS)  # type: ignore[no-untyped-call]
        return made
    if scheme in ("amqp", "amqps"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=url, middleware=middleware)
    if scheme == "stub":
        from dramatiq.brokers.stub import StubBroker

        return StubBroker(middleware=middleware)
    raise ImproperlyConfigured(
        f"DRAMATIQ_BROKER_URL begins with “{scheme}”; use redis://, rediss://, amqp:// or amqps://, "
        "or leave it empty to keep the queue in PostgreSQL."
    )
