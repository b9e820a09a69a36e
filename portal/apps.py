"""The Dramatiq wiring: which broker carries the hints."""

from typing import Any

import dramatiq
from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from dramatiq.middleware import default_middleware
from dramatiq_postgres.broker import PostgresBroker
from dramatiq_postgres.django.middleware import DbConnectionsMiddleware

#: A dead worker's message comes back after seconds, not minutes. The rows would be found anyway.
REDIS = {"heartbeat_timeout": 5_000, "maintenance_chance": 1_000_000}

#: Of the queue in PostgreSQL, for each process, opened as they are needed.
MAX_CONNECTIONS = 32


class PortalConfig(AppConfig):
    """Replaces the PostgreSQL broker, which is the default, by what DRAMATIQ_BROKER_URL names."""

    name = "portal"

    def ready(self) -> None:
        if url := settings.DRAMATIQ_BROKER_URL:
            dramatiq.set_broker(broker_for(url))
        elif isinstance(broker := dramatiq.get_broker(), PostgresBroker):
            # One connection for each queue that a worker listens to, one for notices, and some to answer by.
            broker.pool.resize(min_size=0, max_size=MAX_CONNECTIONS)


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
