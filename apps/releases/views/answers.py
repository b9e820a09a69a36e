"""What these pages say of what went wrong."""

from typing import Any

from django.core.exceptions import ValidationError


def first_error(form: Any) -> str:
    """The first thing that is wrong with a form, with the name of its field."""
    name, errors = next(iter(form.errors.items()))
    label = form.fields[name].label or name.replace("_", " ").capitalize() if name in form.fields else ""
    return f"{label}: {errors[0]}" if label else str(errors[0])


def words_of(error: Exception) -> str:
    """An error as a page says it."""
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
