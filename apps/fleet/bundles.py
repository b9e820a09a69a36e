"""A diagnostics bundle as a file; secrets are taken out."""

import io
import zipfile

from django.utils.text import get_valid_filename

from apps.core.redacting import redacted

from .models import Diagnostics


def as_text(bundle: Diagnostics) -> bytes:
    """All parts one below the other, each under its name."""
    parts = [f"=== {name} ===\n{redacted(text)}\n" for name, text in bundle.parts.items()]
    return f"{_title(bundle)}\n\n{chr(10).join(parts)}".encode()


def as_zip(bundle: Diagnostics) -> bytes:
    """A file for each part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.txt", _title(bundle) + "\n")
        for name, text in bundle.parts.items():
            archive.writestr(f"{get_valid_filename(name) or 'part'}.txt", redacted(text))
    return buffer.getvalue()


def _title(bundle: Diagnostics) -> str:
    return f"{bundle.instance.name}, collected {bundle.created_at:%Y-%m-%d %H:%M:%S} UTC by operation {bundle.operation_id}"
