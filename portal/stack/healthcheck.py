"""`python -m portal.stack.healthcheck`: does the web of this container answer? For the image's HEALTHCHECK.

It asks 127.0.0.1 under the first of ALLOWED_HOSTS: a production portal answers to no other name.
"""

from __future__ import annotations

import os
import sys
import urllib.request


def main() -> int:
    """0 when /healthz answers 200 within two seconds, else 1 with the reason on standard error."""
    host = (
        os.environ.get("ALLOWED_HOSTS", "localhost")
        .split(",")[0]
        .strip()
        .lstrip(".")
        .replace("*", "localhost")
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/healthz", headers={"Host": host or "localhost"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - always http://127.0.0.1
            status = answer.status
    except OSError as error:
        print(f"/healthz does not answer: {error}", file=sys.stderr)
        return 1
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
