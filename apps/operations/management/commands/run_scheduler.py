"""`manage.py run_scheduler`: the portal's clock."""

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from django.db.utils import InterfaceError, OperationalError

from apps.operations import ticks, upkeep

logger = logging.getLogger(__name__)

#: Held by the one scheduler that works; others stand by.
LOCK = 7_320_000
RECONCILE_EVERY = 1.0
SCHEDULES_EVERY = 5.0


class Command(BaseCommand):
    help = "Send what is due: reconciliation, schedules, probes. Several may run; one works, the others stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        away = False
        while not self.stopping:
            try:
                self._work_or_stand_by()
                away = False
            except (OperationalError, InterfaceError) as error:
                if not away:
                    logger.error("the database is away, waiting for it: %s", str(error).splitlines()[0])
                away = True
                connection.close()
                time.sleep(1.0)
            except Exception:
                logger.exception("a tick failed; the scheduler goes on")
                time.sleep(1.0)

    def _stop(self, *args: Any) -> None:
        self.stopping = True

    def _guarded(self, name: str, call: Callable[[], object]) -> None:
        """Call it; its fault is logged and keeps nothing else from its turn."""
        try:
            call()
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s failed; the scheduler goes on", name)

    def _work_or_stand_by(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                time.sleep(2.0)
                return
        logger.info("scheduler works")
        reconcile_at = schedules_at = 0.0
        while not self.stopping:
            now = time.monotonic()
            if now >= reconcile_at:
                # While something stands still, nudge less often: a queue without workers must not fill up.
                reconcile_at = now + (5.0 if upkeep.reconcile() else RECONCILE_EVERY)
            if now >= schedules_at:
                schedules_at = now + SCHEDULES_EVERY
                self._guarded("schedules", upkeep.submit_scheduled)
            for tick in ticks.due(now):
                self._guarded(tick.name, tick.send)
            time.sleep(max(0.05, min(reconcile_at, schedules_at, ticks.next_due()) - time.monotonic()))
