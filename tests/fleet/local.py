"""A local fleet with real processes for tests of operations, and visitors who put it under load."""

from __future__ import annotations

import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apps.fleet import providers
from apps.fleet.certificates import rotating
from apps.fleet.models import Cell, Instance
from apps.fleet.providers.base import ServedCertificate, Target
from apps.fleet.providers.local.provider import LocalProvider
from apps.fleet.targets import provider_targets
from apps.operations import runner, services
from apps.operations.models import Operation
from tests.factories import as_system, grant, make_account, make_cell, make_instance, make_user

VERSION = "1.0.0"


class Local:
    """A local fleet with real processes, and somebody who may operate it."""

    def __init__(self, root: Path) -> None:
        self.provider = LocalProvider(root / "fleet")
        self.provider.prepare()
        self.provider.install_version(VERSION)
        self.account = make_account("acme")
        self.cell = make_cell("cell-local", account=self.account, provider="local")
        self.operator = make_user("olga")
        grant(self.operator, "operator", "account", self.account)

    def target(self, instance: Instance) -> Target:
        return provider_targets([instance.pk])["local"][instance.pk]

    def instance(self, name: str, *, cell: Cell | None = None, days: float = 90) -> Instance:
        """A process that serves, with a certificate that has so many days left."""
        made = make_instance(name, cell=cell or self.cell, version=VERSION)
        target = self.target(made)
        self.provider.apply(target, version=VERSION)
        if days != 90:
            chain, key = self.provider.authority.issue([name, "127.0.0.1"], days=days)
            self.provider.present_certificate(target, chain_pem=chain, key_pem=key)
        wait_for(lambda: self.provider.observe(target).healthy)
        with as_system():
            Instance.objects.filter(pk=made.pk).unrecorded_update(endpoint=self.endpoint(made))
        return made

    def endpoint(self, instance: Instance) -> str:
        return self.provider.observe(self.target(instance)).endpoint

    def served(self, instance: Instance) -> ServedCertificate:
        return self.provider.served_certificate(self.target(instance))

    def operate(self, kind: str, instance: Instance, **params: object) -> Operation:
        """Ask for an operation, and run it to its end."""
        asked = services.submit(
            kind=kind, target_id=instance.pk, params=params, actor=self.operator, reason="it has to be"
        )
        runner.run_due()
        asked.refresh_from_db()
        return asked

    def rotate(self, instance: Instance) -> Operation:
        return self.operate(rotating.NAME, instance)


def wait_for(wish: Callable[[], object], seconds: float = 10) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    while not wish():
        assert datetime.now(UTC) < ends, "it did not come"


@contextmanager
def local_fleet(folder: Path) -> Iterator[Local]:
    """A local fleet that the portal's registry names; whatever was started is ended."""
    made = Local(folder)
    before = dict(providers._built)
    providers._built["local"] = made.provider
    try:
        yield made
    finally:
        providers._built.clear()
        providers._built.update(before)
        made.provider.stop_all()


@contextmanager
def visitors(url: str, context: ssl.SSLContext) -> Iterator[list[str]]:
    """Four clients that ask again and again, each time with a new handshake; what went wrong is listed."""
    stop, failures, asked = threading.Event(), [], []

    def visit() -> None:
        while not stop.is_set():
            try:
                with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                    asked.append(answer.status)
            except OSError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert len(asked) > 50, "there was no load"
