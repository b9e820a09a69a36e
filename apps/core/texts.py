"""Text from outside as the database can keep it, and in the order in which people count."""

import re


def storable(text: str) -> str:
    """The text without what PostgreSQL refuses: NUL, and halves of surrogate pairs. A process may write anything."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key of versions and numbered names: numbers by value, so that 4.10 comes after 4.9, and before words."""
    parts = re.findall(r"\d+|[A-Za-z]+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
