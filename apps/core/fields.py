"""What forms of all apps share."""

from collections.abc import Iterable

from django import forms


def only_when(form: forms.BaseForm, chooser: str, **fields: Iterable[str]) -> None:
    """Have each of the fields stand on the page only while `chooser` has one of its values.

    A help for the eye that the page's script gives: without it all fields are there, and what the form accepts is for
    its `clean` to say. What is hidden and not required is sent empty.
    """
    for name, values in fields.items():
        form.fields[name].widget.attrs["data-when"] = f"{chooser}={' '.join(map(str, values))}"
