"""Forms of the access pages."""

from datetime import UTC
from typing import Any

from django import forms
from django.utils import timezone

from .choices import ScopeKind
from .models import Role


class GiveForm(forms.Form):
    """A role on a scope, until when, and why."""

    role = forms.ModelChoiceField(queryset=Role.objects.all(), empty_label=None)
    kind = forms.ChoiceField(label="On", choices=ScopeKind.choices)
    name = forms.CharField(
        label="Which one",
        required=False,
        max_length=120,
        help_text="the account's or cell's name, the tenant's key; empty for everything",
    )
    until = forms.DateTimeField(
        label="Until (UTC)",
        required=False,
        help_text="empty: for good",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    reason = forms.CharField(
        min_length=3, max_length=500, help_text="who asked, and what for; it stands in the audit trail"
    )

    def clean_until(self) -> Any:
        until = self.cleaned_data["until"]
        if until is None:
            return None
        until = until.replace(tzinfo=UTC)
        if until <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        return until

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("kind") not in (None, ScopeKind.EVERYTHING) and not cleaned.get("name", "").strip():
            self.add_error("name", "Name the account, cell or tenant.")
        return cleaned
