"""Forms of runbooks: a definition, a run, a schedule."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from apps.access.scoping import visible
from apps.fleet.models import Instance

from .forms import labels_of
from .models import Runbook, RunbookSchedule
from .runbooks.reading import Definition, Input


class RunbookForm(forms.Form):
    """A definition, and what is new in it."""

    text = forms.CharField(
        label="Definition",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 26, "class": "mono", "spellcheck": "false"}),
    )
    note = forms.CharField(label="What is new", required=False, max_length=200)


class RunForm(forms.Form):
    """On which instance, with which inputs, why: fields as the definition asks."""

    instance = forms.CharField(max_length=63, help_text="its name")
    reason = forms.CharField(label="Why", min_length=3, max_length=500)
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, definition: Definition, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user, self.definition = user, definition
        for one in definition.inputs:
            self.fields[f"in_{one.name}"] = _field_of(one)
        self.order_fields(["instance", *(f"in_{i.name}" for i in definition.inputs), "reason", "key"])

    def clean_instance(self) -> Any:
        return instance_named(self.user, self.cleaned_data["instance"])

    def inputs(self) -> dict[str, Any]:
        """The inputs by their names; an empty one is left out."""
        given = {i.name: self.cleaned_data.get(f"in_{i.name}") for i in self.definition.inputs}
        return {name: value for name, value in given.items() if value not in (None, "")}


def _field_of(one: Input) -> forms.Field:
    made: dict[str, Any] = {
        "label": one.label,
        "required": one.required and one.default is None,
        "initial": one.default,
    }
    match one.type:
        case "integer":
            return forms.IntegerField(min_value=one.min, max_value=one.max, **made)
        case "boolean":
            return forms.BooleanField(**{**made, "required": False})
        case "choice":
            return forms.ChoiceField(choices=[(c, c) for c in one.choices], **made)
    return forms.CharField(max_length=200, **made)


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Which runbook, on which instance, when, why."""

    on = forms.CharField(label="Instance", max_length=63, help_text="its name")
    given = forms.CharField(
        label="Inputs", required=False, max_length=2_000, help_text="name=value, …; the others have their defaults"
    )  # fmt: skip

    class Meta:
        model = RunbookSchedule
        fields = ("name", "runbook", "cron", "zone", "reason")

    field_order = ("name", "runbook", "on", "given", "cron", "zone", "reason")

    def __init__(self, *args: Any, user: Any, initial: dict[str, Any], **kwargs: Any) -> None:
        initial = {"runbook": initial.get("runbook"), "on": initial.get("instance", "")}
        row = kwargs.get("instance")
        if row is not None:
            pairs = ", ".join(f"{name}={value}" for name, value in row.inputs.items())
            initial = {"on": row.instance.name, "given": pairs}
        kwargs["initial"] = initial
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["runbook"].queryset = Runbook.objects.filter(is_enabled=True)  # type: ignore[attr-defined]

    def clean_on(self) -> Any:
        self.instance.instance = instance_named(self.user, self.cleaned_data["on"])
        return self.cleaned_data["on"]

    def clean_given(self) -> dict[str, Any]:
        """Values as YAML reads them: 20 is a number, true is true."""
        found = {k: plain(v) for k, v in labels_of(self.cleaned_data["given"]).items()}
        self.instance.inputs = found
        return found

    def _post_clean(self) -> None:
        # The service checks the row, once it has set what is not asked for.
        self.instance = forms.models.construct_instance(self, self.instance, self._meta.fields)


def plain(text: str) -> Any:
    """A value as it was meant: a whole number, a yes or no, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else text


def instance_named(user: Any, name: str) -> Instance:
    """The instance of that name that `user` sees. Raises ValidationError."""
    rows = visible(user, Instance.objects.select_related("cell__region"))
    if (found := rows.filter(name=name.strip()).first()) is None:
        raise ValidationError(f"There is no instance “{name.strip()}” that you can see.")
    return found
