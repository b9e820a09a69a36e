"""What the fleet's pages take in."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.accounts.models import Account

from .models import RenewalPolicy
from .queries.metrics import RANGES

DEFAULT_RANGE = "1h"


class RangeForm(forms.Form):
    """How far back a chart looks."""

    range = forms.ChoiceField(choices=[(name, name) for name in RANGES], required=False)

    def span(self) -> str:
        """The range asked for; the default for none and for nonsense."""
        chosen = self.cleaned_data.get("range") if self.is_valid() else ""
        return chosen or DEFAULT_RANGE


class LogForm(forms.Form):
    """Whose lines of a log, or of which request."""

    tenant = forms.CharField(required=False, max_length=63, widget=forms.TextInput(attrs={"type": "search"}))
    request = forms.CharField(
        label="Request", required=False, max_length=64, widget=forms.TextInput(attrs={"type": "search"})
    )

    def wanted(self) -> dict[str, str]:
        """What was asked for; nothing for nonsense."""
        return {k: v.strip() for k, v in self.cleaned_data.items()} if self.is_valid() else {}


class RenewalForm(forms.ModelForm):  # type: ignore[type-arg]
    """Where certificates are renewed by themselves, and when. The place of one that exists stays."""

    place = forms.CharField(
        label="Account", required=False, max_length=120, help_text="its name; empty: every account"
    )

    class Meta:
        model = RenewalPolicy
        fields = ("share", "at_once", "is_enabled")

    field_order = ("place", "share", "at_once", "is_enabled")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if self.instance.pk:
            del self.fields["place"]

    def clean_place(self) -> str:
        """An account on which the reader may deploy; every account only for who may deploy everywhere."""
        name = str(self.cleaned_data["place"]).strip()
        if name:
            self.instance.account = visible(self.user, Account, Permission.DEPLOY).filter(name=name).first()
            if self.instance.account is None:
                raise ValidationError(f"There is no account “{name}” on which you may deploy.")
        elif not scopes_of(self.user, Permission.DEPLOY).everything:
            raise ValidationError("Name an account: you may not deploy on everything.")
        if RenewalPolicy.objects.filter(account=self.instance.account).exists():
            raise ValidationError("There is a renewal for it already; change that one.")
        return name
