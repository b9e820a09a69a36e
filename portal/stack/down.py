"""`make down`: stops the portal, the tenants' processes of the local fleet, and the database."""

from __future__ import annotations

import os
import subprocess
import sys

from portal.stack.errors import StackError
from portal.stack.postgres import EmbeddedPostgres
from portal.stack.state import ROOT, State
from portal.stack.supervisor import end_orphans, recall, wait_until_gone
from portal.stack.up import CHILDREN

PATIENCE = 40.0


def main() -> int:
    """Stop all that runs on this machine's state. Safe to repeat; 1 when something would not stop."""
    state = State.from_environment()
    if not state.base.exists():
        print(f"Nothing to stop: there is no portal in {state.base}.")
        return 0
    state.create()
    try:
        stop_portal(state)
        return stop_fleet_and_database(state)
    except StackError as error:
        print(f"Daytwo could not be stopped: {error}", file=sys.stderr)
        return 1


def stop_portal(state: State) -> None:
    """Ask the supervisor to stop and wait for it; then end what a killed one left behind."""
    supervisor = recall(state, "up")
    if supervisor is not None:
        supervisor.terminate()
        if not wait_until_gone(state, "up", PATIENCE):
            supervisor.kill()
        print("The portal is stopped.")
    end_orphans(state, [*CHILDREN, "up"])


def stop_fleet_and_database(state: State) -> int:
    """Stop the tenants' processes, which needs no database, then our own database."""
    environment = dict(os.environ)
    environment.setdefault("SECRET_KEY", state.secret_key())
    environment["DAYTWO_DATA_DIR"] = str(state.base)
    command = [sys.executable, "manage.py", "stop_local_fleet"]
    fleet = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if not os.environ.get("DATABASE_URL"):
        EmbeddedPostgres(state.postgres).stop()
    print("The local fleet did not stop: see above." if fleet else "Everything is stopped.")
    return 1 if fleet else 0


if __name__ == "__main__":
    sys.exit(main())
