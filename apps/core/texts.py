"""Text from outside as the database can keep it."""


def storable(text: str) -> str:
    """The text without what PostgreSQL refuses: NUL, and halves of surrogate pairs. A process may write anything."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
