"""The forms of actions and schedules."""

from collections.abc import Sequence
from typing import Any

from django import forms

from apps.access.scoping import visible

from .filters import kind_choices, number_in
from .kinds import find_kind, find_target
from .models import Schedule
from .params import given, params_of
from .services import MIN_REASON


class ParamsForm(forms.Form):
    """The parameters that a kind asks for: a choice where the values are known, else text."""

    def __init__(self, *args: Any, kind: str, target_ids: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in params_of(kind):
            choices = param.choices(target_ids)
            field: forms.Field = (
                forms.ChoiceField(
                    label=param.label,
                    choices=[("", "choose…"), *((c, c) for c in choices)],
                    required=not param.is_optional,
                )
                if choices
                else forms.CharField(label=param.label, max_length=200, required=not param.is_optional)
            )
            self.fields[param.name] = field


class ReasonForm(forms.Form):
    """Why; it stands on the timeline and in the audit trail."""

    reason = forms.CharField(
        label="Why",
        max_length=500,
        min_length=MIN_REASON,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "Ticket, or what you saw"}),
        error_messages={
            "required": "Say why, in a few words.",
            "min_length": "Say why, in a few words.",
        },
    )


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule: what, on which target, when. The target is named, and found among those the reader sees."""

    kind = forms.ChoiceField(choices=lambda: [("", "choose…"), *kind_choices()])
    target = forms.CharField(label="On", help_text="its name, exactly", max_length=120)

    class Meta:
        model = Schedule
        fields = ("name", "kind", "cron", "zone", "reason", "is_enabled")
        labels = {"cron": "When", "zone": "Time zone", "reason": "Why", "is_enabled": "Runs"}

    field_order = ("name", "kind", "target", "cron", "zone", "reason", "is_enabled")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.param_names: list[str] = []
        kind = self.data.get("kind") or self.initial.get("kind") or self.instance.kind
        for param in params_of(kind) if kind else []:
            self.fields[param.name] = forms.CharField(
                label=param.label, max_length=200, required=not param.is_optional
            )
            self.param_names.append(param.name)
            self.initial.setdefault(param.name, self.instance.params.get(param.name, ""))
        if self.instance.pk and "target" not in self.initial:
            info = find_target(self.instance.target_type).describe([self.instance.target_id])
            self.initial["target"] = (
                info[self.instance.target_id].label if info else f"#{self.instance.target_id}"
            )

    def clean(self) -> dict[str, Any]:
        """Find the target and clean the parameters as the kind does."""
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            kind = find_kind(cleaned.get("kind", ""))
        except LookupError:
            return cleaned
        self.instance.target_type = kind.target_type
        if text := cleaned.get("target"):
            self.instance.target_id = self._find(kind.target_type, text) or 0
        try:
            self.instance.params = kind.check_params(given(kind.name, self.data))
        except ValueError as error:
            self.add_error(self.param_names[0] if self.param_names else None, str(error))
        return cleaned

    def _find(self, target_type: str, text: str) -> int | None:
        model = find_target(target_type).model
        rows = visible(self.user, model)
        found = (
            rows.filter(pk=number)
            if text[:1] == "#" and (number := number_in(text))
            else rows.filter(name=text)
        )
        pk: int | None = found.values_list("pk", flat=True).first()
        if pk is None:
            self.add_error("target", f"There is no {target_type} “{text}” that you can see.")
        return pk
