"""What the fleet's pages take in."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.accounts.models import Account

from .choices import IssuerKind
from .models import Cell, CertificateIssuer, RenewalPolicy
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


class IssuerForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who issues certificates where. The place of one that exists stays; the binding's key is taken, never shown."""

    place = forms.CharField(
        label="In",
        required=False,
        max_length=120,
        help_text="name of a cell or an account; empty: everywhere",
    )
    directory_url = forms.URLField(label="Directory", required=False, max_length=300, assume_scheme="https")
    eab_key = forms.CharField(
        label="Binding key",
        required=False,
        max_length=400,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="as the authority gave it, base64url; empty: as it is",
    )

    class Meta:
        model = CertificateIssuer
        fields = (
            "name", "kind", "directory_url", "contact", "domain", "covers_tenants", "directory_roots", "roots",
            "eab_kid", "is_enabled",
        )  # fmt: skip
        labels = {
            "covers_tenants": "For tenants' domains too", "eab_kid": "Binding key id",
            "directory_roots": "Trust for the directory", "roots": "Roots of its certificates", "is_enabled": "Issues",
        }  # fmt: skip
        widgets = {
            "directory_roots": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "roots": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        }

    field_order = (
        "name", "kind", "place", "directory_url", "domain", "covers_tenants", "contact", "eab_kid", "eab_key",
        "directory_roots", "roots", "is_enabled",
    )  # fmt: skip

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if self.instance.pk:
            for name in ("place", "name", "kind"):
                del self.fields[name]
            for name in ("directory_url", "domain"):
                self.fields[name].required = True
            if self.instance.kind == IssuerKind.INTERNAL:
                self.fields = {"is_enabled": self.fields["is_enabled"]}

    def clean_place(self) -> str:
        """A cell or an account in which the reader may deploy; everywhere only for who may deploy everywhere."""
        name = str(self.cleaned_data["place"]).strip()
        row = self.instance
        if name:
            row.cell = visible(self.user, Cell, Permission.DEPLOY).filter(name=name).first()
            row.account = (
                None if row.cell else visible(self.user, Account, Permission.DEPLOY).filter(name=name).first()
            )
            if row.place is None:
                raise ValidationError(f"There is no cell or account “{name}” in which you may deploy.")
        elif not scopes_of(self.user, Permission.DEPLOY).everything:
            raise ValidationError("Name a cell or an account: you may not deploy on everything.")
        if CertificateIssuer.objects.filter(account=row.account, cell=row.cell).exists():
            raise ValidationError("There is an issuer for it already; change that one.")
        return name

    def _post_clean(self) -> None:
        """The service says what is wrong, with the keys in their places; the model's own rules would come too early."""
        opts = self._meta
        assert opts.fields is not None  # noqa: S101 - named above
        self.instance = forms.models.construct_instance(self, self.instance, opts.fields, opts.exclude)
