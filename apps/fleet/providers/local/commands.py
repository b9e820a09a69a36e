"""The commands that a release of the product offers: one file, standard library only, beside `app.py`.

    python -I -S commands.py INSTANCE_DIR NAME name=value...

`COMMANDS` goes into the version's manifest: what is not in it is not run. Output is for people.
"""

import collections
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

COMMANDS = [
    {"name": "status", "about": "what it is and holds: tenants, boot, files and their sizes"},
    {
        "name": "errors",
        "about": "the last warnings and errors of its log",
        "arguments": [
            {"name": "last", "kind": "integer", "about": "lines", "default": "20", "min": 1, "max": 500}
        ],
    },
    {
        "name": "requests",
        "about": "a tenant's requests that its log still tells of, by their answer",
        "arguments": [{"name": "tenant", "kind": "tenant"}],
    },
    {
        "name": "mark",
        "about": "writes a line into its log, to find a moment again",
        "arguments": [{"name": "text", "kind": "word"}],
        "is_repeatable": False,
    },
]


def lines(directory: str) -> Iterator[dict[str, Any]]:
    """What the log's files hold, the oldest first."""
    names = [name for name in os.listdir(directory) if name.startswith("log.") and name.endswith(".jsonl")]
    order = sorted(names, key=lambda name: int(name.split(".")[1]) if name != "log.jsonl" else 1 << 60)
    for name in order:
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if "message" in line:
                    yield line


def status(directory: str) -> None:
    """Sizes and facts."""
    with open(os.path.join(directory, "instance.json")) as file:
        instance = json.load(file)
    for name in ("name", "cell", "version", "wanted", "workers", "tenants"):
        print(f"{name}: {instance.get(name)}")
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            print(f"{os.path.getsize(path):>10}  {name}")


def errors(directory: str, last: str) -> None:
    """The last lines that are not fine."""
    bad = (line for line in lines(directory) if line.get("level") in ("warning", "error", "critical"))
    for line in collections.deque(bad, maxlen=int(last)):
        print(line["at"], line["level"], line["message"])


def requests(directory: str, tenant: str) -> None:
    """Counts by code."""
    counts = collections.Counter(
        line.get("code") for line in lines(directory) if line.get("tenant") == tenant
    )
    for code, number in sorted(counts.items(), key=str):
        print(f"{code}: {number}")
    print(f"{sum(counts.values())} requests of {tenant}")


def mark(directory: str, text: str) -> None:
    """One line, appended whole."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000Z"
    line = json.dumps({"at": at, "level": "info", "message": f"mark: {text}"}) + "\n"
    with open(os.path.join(directory, "log.jsonl"), "ab", buffering=0) as file:
        file.write(line.encode())
    print(f"marked: {text}")


if __name__ == "__main__":
    known: dict[str, Callable[..., None]] = {
        "status": status,
        "errors": errors,
        "requests": requests,
        "mark": mark,
    }
    known[sys.argv[2]](sys.argv[1], **dict(part.split("=", 1) for part in sys.argv[3:]))
