"""Verify an export without the portal: `python -m apps.audit.outside FOLDER`. Needs Python and `cryptography` alone.

An export is a folder: `entries.jsonl` (the canonical lines themselves), `seals.jsonl`, `keys.json` (public keys,
to be compared with those that the company published) and `names.json` (who an id is; for reading, not sealed). Where
retention has let entries go there is `retirements.jsonl` too; the archives it wrote are exports themselves, and with
`--archive` the whole trail is verified over them as if nothing had been let go.
"""

import argparse
import base64
import heapq
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file, beside its neighbours
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from apps.audit import keys
from apps.audit.canonical import Seal
from apps.audit.retirements import Retirement
from apps.audit.verifying import Entry, Verdict, verify

ENTRIES, SEALS, KEYS, NAMES = "entries.jsonl", "seals.jsonl", "keys.json", "names.json"
RETIREMENTS = "retirements.jsonl"


class BadExport(ValueError):
    """A file of the export cannot be read as what it should be."""


def seal_line(seal: Seal) -> dict[str, Any]:
    """A seal as its line of `seals.jsonl` says it."""
    return {
        "header": seal.header,
        "hash": seal.hash,
        "signature": base64.b64encode(seal.signature).decode(),
        "digests": base64.b64encode(seal.digests).decode(),
    }


def checkpoint_of(seal: Seal) -> dict[str, Any]:
    """What to keep elsewhere, so that a chain written anew is found out: a seal without its digests."""
    return {key: value for key, value in seal_line(seal).items() if key != "digests"}


def read_seals(path: Path) -> Iterator[Seal]:
    """The seals of an export. Raises BadExport with the line that is none."""
    for number, found in _lines(path):
        try:
            yield Seal(
                found["header"],
                found["hash"],
                base64.b64decode(found["signature"], validate=True),
                base64.b64decode(found["digests"], validate=True),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadExport(f"{path}, line {number}: no seal ({error!r}).") from error


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of an export: ids and lines as they stand there. Raises BadExport with the line that is none."""
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.rstrip(b"\r\n")
            try:
                yield int(json.loads(line)["id"]), line
            except (ValueError, KeyError, TypeError) as error:
                raise BadExport(f"{path}, line {number}: no entry.") from error


def retirement_line(one: Retirement) -> dict[str, Any]:
    """A retirement as its line of `retirements.jsonl` says it."""
    return {"header": one.header, "hash": one.hash, "signature": base64.b64encode(one.signature).decode()}


def read_retirements(path: Path) -> list[Retirement]:
    """What retention signed for; none where there is no such file. Raises BadExport with the line that is none."""
    if not path.exists():
        return []
    found = []
    for number, row in _lines(path):
        try:
            found.append(
                Retirement(
                    dict(row["header"]), row["hash"], base64.b64decode(row["signature"], validate=True)
                )
            )
            _ = [int(row["header"][name]) for name in ("number", "seal")], list(row["header"]["gone"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadExport(f"{path}, line {number}: no retirement ({error!r}).") from error
    return found


def merged(parts: Sequence[Iterable[Entry]]) -> Iterator[Entry]:
    """Entries of several sources in the order of ids; what two of them have alike comes once."""
    last: Entry | None = None
    for entry in heapq.merge(*parts, key=lambda one: one[0]):
        if entry != last:
            yield entry
        last = entry


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, json.loads(raw)
            except ValueError as error:
                raise BadExport(f"{path}, line {number}: no JSON.") from error


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadExport(f"{path} cannot be read: {error.strerror}.") from error


def read_checkpoints(paths: list[Path]) -> dict[int, str]:
    """Hashes by seal number, of checkpoints kept from before."""
    found = {}
    for path in paths:
        for number, kept in _lines(path):
            try:
                found[int(kept["header"]["number"])] = str(kept["hash"])
            except (KeyError, TypeError, ValueError) as error:
                raise BadExport(f"{path}, line {number}: no checkpoint.") from error
    return found


def verify_export(
    folder: Path,
    *,
    key_texts: list[str] | None = None,
    checkpoints: list[Path] | None = None,
    archives: Sequence[Path] = (),
) -> Verdict:
    """Verify the export in `folder`, with the keys given or else those that it brings. Raises BadExport, keys.BadKey.

    With the `archives` that retention wrote, all of them, as if nothing had been let go.
    """
    texts = key_texts
    if not texts:
        with _open(folder / KEYS) as file:
            texts = [str(found["public_key"]) for found in json.load(file)["keys"]]
    kept = read_checkpoints(checkpoints or [])
    parts = [read_entries(one / ENTRIES) for one in (*archives, folder)]
    retired = [] if archives else read_retirements(folder / RETIREMENTS)
    return verify(
        read_seals(folder / SEALS), merged(parts), keys.trusted(texts), checkpoints=kept, retirements=retired
    )


def words(verdict: Verdict) -> str:
    """A verdict as one line for people."""
    if verdict.broken:
        return f"BROKEN at {verdict.broken}"
    start = "" if verdict.first_seal == 1 else f" from #{verdict.first_seal} on"
    return (
        f"WHOLE: {verdict.entries:,} entries under {verdict.seals:,} seals{start}, last hash {verdict.last_hash}; "
        f"{verdict.unsealed:,} entries not sealed yet"
    )


def main(arguments: list[str] | None = None) -> int:
    """0 where the chain holds, 1 where it breaks, 2 where the export cannot be read."""
    parser = argparse.ArgumentParser(description="Verify an export of the audit trail.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--key", action="append", help="a public key in base64; without one, those of the export are taken"
    )
    parser.add_argument("--checkpoint", action="append", type=Path, help="a checkpoint kept from before")
    parser.add_argument(
        "--archive",
        action="append",
        type=Path,
        default=[],
        help="a folder that retention wrote; name all of them",
    )
    options = parser.parse_args(arguments)
    try:
        verdict = verify_export(
            options.folder, key_texts=options.key, checkpoints=options.checkpoint, archives=options.archive
        )
    except (BadExport, keys.BadKey) as error:
        print(error, file=sys.stderr)
        return 2
    if not options.key:
        print("The keys are the export's own: compare them with what was published.", file=sys.stderr)
    print(words(verdict))
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
