"""The trail as files that prove themselves: what `manage.py audit export` writes."""

import json
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType

from .canonical import canonical
from .checking import stored_entries, stored_retirements, stored_seals
from .outside import ENTRIES, KEYS, NAMES, RETIREMENTS, SEALS, retirement_line, seal_line
from .signing import public_keys


def export(folder: Path, *, after: int = 0, through: int | None = None) -> tuple[int, int]:
    """Write the sealed trail to a new folder; gives the numbers of entries and seals. Raises FileExistsError.

    Seals first: what is recorded meanwhile is not sealed, and an export holds what its seals cover and no more.
    With `after` and `through` only those seals, which verify by themselves.
    """
    folder.mkdir(parents=True, exist_ok=False)
    seals, begin, up_to = 0, None, 0
    with (folder / SEALS).open("wb") as file:
        for seal in stored_seals(after):
            if through is not None and seal.number > through:
                break
            begin = int(seal.header["after"]) if begin is None else begin
            file.write(canonical(seal_line(seal)) + b"\n")
            seals, up_to = seals + 1, int(seal.header["up_to"])
    entries = 0
    with (folder / ENTRIES).open("wb") as file:
        for pk, line in stored_entries(begin) if after and begin is not None else stored_entries():
            if pk > up_to:
                break
            file.write(line + b"\n")
            entries += 1
    if retired := stored_retirements():
        lines = b"".join(canonical(retirement_line(one)) + b"\n" for one in retired)
        (folder / RETIREMENTS).write_bytes(lines)
    public = [{"id": name, "public_key": text} for name, text in public_keys()]
    (folder / KEYS).write_text(json.dumps({"algorithm": "Ed25519", "keys": public}, indent=1) + "\n")
    (folder / NAMES).write_text(json.dumps(names(), indent=1, ensure_ascii=False) + "\n")
    return entries, seals


def names() -> dict[str, dict[str, str]]:
    """Who and what the ids in the entries are; for reading, not sealed."""
    people = get_user_model()._default_manager.order_by("pk").values_list("pk", "username")
    return {
        "actors": {str(pk): username for pk, username in people},
        "content_types": {str(t.pk): f"{t.app_label}.{t.model}" for t in ContentType.objects.order_by("pk")},
    }
