"""Forms of the access pages."""

from datetime import UTC
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group
from django.utils import timezone

from . import scoping
from .choices import NEVER_PROVISIONED, NOT_IN_EMERGENCY, Permission, ScopeKind, Verdict
from .models import Role, User


class GiveForm(forms.Form):
    """A role on a scope, until when, and why."""

    role = forms.ModelChoiceField(queryset=Role.objects.all(), empty_label="choose a role")
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


MINUTES = [(30, "30 minutes"), (60, "1 hour"), (120, "2 hours"), (240, "4 hours"), (480, "8 hours"), (1440, "1 day"), (4320, "3 days")]  # fmt: skip


def minutes_field(most: int) -> forms.TypedChoiceField:
    """For how long, up to `most` minutes."""
    return forms.TypedChoiceField(
        label="For",
        coerce=int,
        choices=[(value, label) for value, label in MINUTES if value <= most],
    )


class OnForm(forms.Form):
    """A role, and on what: everything, or one account, cell or tenant by its name."""

    role = forms.ModelChoiceField(queryset=Role.objects.all(), empty_label="choose a role")
    kind = forms.ChoiceField(label="On", choices=[*ScopeKind.choices[1:], ScopeKind.choices[0]])
    name = forms.CharField(
        label="Which one",
        required=False,
        max_length=120,
        help_text="the account's or cell's name, the tenant's key; empty for everything",
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("kind") not in (None, ScopeKind.EVERYTHING) and not cleaned.get("name", "").strip():
            self.add_error("name", "Name the account, cell or tenant.")
        return cleaned


class AskForm(OnForm):
    """Access for a while."""

    ticket = forms.URLField(
        label="Ticket", required=False, assume_scheme="https", help_text="link to the ticket, if there is one"
    )
    reason = reason_field("what you need it for; whoever decides reads it")

    field_order = ("role", "kind", "name", "minutes", "reason", "ticket")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["minutes"] = minutes_field(settings.ACCESS_MAX_HOURS * 60)
        self.order_fields(self.field_order)


class ExtendForm(forms.Form):
    """For longer."""

    reason = reason_field("why it takes longer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["minutes"] = minutes_field(settings.ACCESS_MAX_HOURS * 60)
        self.order_fields(("minutes", "reason"))


class PreApprovalForm(OnForm):
    """A standing yes for those in a group."""

    group = forms.ModelChoiceField(queryset=Group.objects.order_by("name"), empty_label=None)
    reason = reason_field("why they need not ask: the duty they have")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["max_minutes"] = minutes_field(1440)
        self.fields["max_minutes"].label = "For at most"
        self.order_fields(("group", "role", "kind", "name", "max_minutes", "reason"))


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


class StartReviewForm(forms.Form):
    """A new review of access."""

    name = forms.CharField(max_length=80, help_text="such as “2026, fourth quarter”")
    reason = reason_field("why now: the policy or the control that asks for it")


class SsoGroupForm(forms.Form):
    """A group at the identity provider, and the one that it means here."""

    claim = forms.CharField(
        label="At the provider",
        max_length=200,
        help_text="the group's name or id, letter for letter as it comes in the claim",
    )
    group = forms.ModelChoiceField(
        label="Here", queryset=Group.objects.order_by("name"), empty_label="choose a group"
    )
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


class BreakGlassForm(OnForm):
    """Access now, without asking."""

    reason = reason_field("what is on fire; the security address reads it at once")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        barred = [str(permission) for permission in NOT_IN_EMERGENCY]
        self.fields["role"].queryset = Role.objects.exclude(permissions__overlap=barred)  # type: ignore[attr-defined]
        self.fields["minutes"] = forms.TypedChoiceField(
            label="For", coerce=int, choices=[(15, "15 minutes"), (30, "30 minutes"), (60, "1 hour")]
        )
        self.order_fields(("role", "kind", "name", "minutes", "reason"))


class ReviewForm(forms.Form):
    """What somebody else says of it."""

    verdict = forms.ChoiceField(choices=Verdict.choices)
    review = forms.CharField(
        label="What you found", min_length=3, max_length=4_000, widget=forms.Textarea(attrs={"rows": 3})
    )


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(max_length=80, help_text="which program uses it")
    permissions = forms.MultipleChoiceField(
        label="May", widget=forms.CheckboxSelectMultiple, help_text="of what you hold yourself"
    )
    may_give = forms.MultipleChoiceField(
        label="Groups may give",
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="for a directory's token (SCIM): what the groups that it fills may allow",
    )
    days = forms.TypedChoiceField(
        label="For", coerce=int, choices=[(7, "a week"), (30, "30 days"), (90, "90 days"), (365, "a year")]
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        held = [(value, label) for value, label in Permission.choices if scoping.holds(user, value)]
        self.fields["permissions"].choices = held  # type: ignore[attr-defined]
        if not scoping.scopes_of(user, Permission.PROVISION).everything:
            del self.fields["may_give"]
        else:
            given = [one for one in held if one[0] not in NEVER_PROVISIONED]
            self.fields["may_give"].choices = given  # type: ignore[attr-defined]
