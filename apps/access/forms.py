"""Forms of the access pages."""

from datetime import UTC
from typing import Any

from django import forms
from django.utils import timezone

from . import scoping
from .choices import Permission, ScopeKind
from .models import Role, User


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


def reason_field(help_text: str = "who asked, and what for; it stands in the audit trail") -> forms.CharField:
    """Why: a few words, kept in the trail."""
    return forms.CharField(min_length=3, max_length=500, help_text=help_text)


class RoleForm(forms.Form):
    """A role's name and what it allows, and why it is so from now on."""

    name = forms.SlugField(max_length=50, help_text="small letters, digits and hyphens")
    description = forms.CharField(max_length=200, required=False, help_text="for whom it is, in a few words")
    permissions = forms.MultipleChoiceField(
        choices=Permission.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    reason = reason_field()


class GroupForm(forms.Form):
    """A new group."""

    name = forms.CharField(max_length=150, help_text="a team or a duty, such as “on-call EU”")
    reason = reason_field()


class MemberForm(forms.Form):
    """Somebody who is to be in a group."""

    who = forms.CharField(label="Username", max_length=150)
    reason = reason_field()

    def clean_who(self) -> User:
        found: User | None = User.objects.filter(
            username=self.cleaned_data["who"].strip(), kind="person"
        ).first()
        if found is None:
            raise forms.ValidationError("There is nobody with this username.")
        return found


class WhyForm(forms.Form):
    """Who, what, on which one. Without a person: everybody who may."""

    who = forms.CharField(
        label="Who", required=False, max_length=150, help_text="a username; empty: everybody who can"
    )
    permission = forms.ChoiceField(label="Can", choices=Permission.choices)
    kind = forms.ChoiceField(label="On")
    name = forms.CharField(label="Which one", required=False, max_length=120, help_text="its name, or key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [(name, name.capitalize()) for name in scoping.coverable()]
        self.fields["kind"].choices = [*kinds, (ScopeKind.EVERYTHING.value, "Everything")]  # type: ignore[attr-defined]

    def clean_who(self) -> User | None:
        name = self.cleaned_data["who"].strip()
        if not name:
            return None
        found: User | None = User.objects.filter(username=name).first()
        if found is None:
            raise forms.ValidationError("There is nobody with this username.")
        return found

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("kind") not in (None, ScopeKind.EVERYTHING) and not cleaned.get("name", "").strip():
            self.add_error("name", "Name it.")
        return cleaned
