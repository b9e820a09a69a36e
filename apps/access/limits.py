"""How many calls a token makes in a minute: who loops must not stand in everybody's way."""

import threading
import time

from django.conf import settings


class Limit:
    """At most `most` calls a minute for each key, in each process; a window that begins with its first call."""

    SECONDS, LARGEST = 60.0, 10_000

    def __init__(self) -> None:
        self._windows: dict[int, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def wait(self, key: int, most: int) -> int:
        """0 where the call may go on, else the seconds after which to come again."""
        now = time.monotonic()
        with self._lock:
            if key not in self._windows and len(self._windows) >= self.LARGEST:
                self._windows.clear()  # bounds memory; who is counted anew gains a minute at most
            begun, count = self._windows.get(key, (now, 0))
            if now - begun >= self.SECONDS:
                begun, count = now, 0
            if count >= most:
                return max(1, round(self.SECONDS - (now - begun)))
            self._windows[key] = (begun, count + 1)
        return 0

    def forget(self) -> None:
        """Begin anew (tests)."""
        with self._lock:
            self._windows.clear()


CALLS = Limit()


def wait(token_id: int) -> int:
    """0 where the token's call may go on, else the seconds to wait (settings.API_CALLS_PER_MINUTE)."""
    return CALLS.wait(token_id, settings.API_CALLS_PER_MINUTE)
