"""What the fleet's pages take in."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.accounts.models import Account

from .choices import IssuerKind
from .models import Cell, CertificateIssuer, RenewalPolicy
from .queries.charts import CELL, COMPARED
from .queries.logs import Wanted
from .queries.metrics import RANGES

DEFAULT_RANGE = "1h"


class RangeForm(forms.Form):
    """How far back a chart looks, and what it is compared with: the others of the cell, unless something else is said."""

    range = forms.ChoiceField(choices=[(name, name) for name in RANGES], required=False)
    compare = forms.MultipleChoiceField(choices=[*COMPARED.items(), ("none", "nothing")], required=False)

    def span(self) -> str:
        """The range asked for; the default for none and for nonsense."""
        chosen = self.cleaned_data.get("range") if self.is_valid() else ""
        return chosen or DEFAULT_RANGE

    def compared(self) -> list[str]:
        """What it is compared with; the default for nothing said and for nonsense."""
        chosen = self.cleaned_data.get("compare", []) if self.is_valid() else []
        return [name for name in chosen or [CELL] if name in COMPARED]


class MomentForm(forms.Form):
    """A moment, as an ISO 8601 time in UTC."""

    at = forms.CharField(required=False, max_length=40)

    def moment(self) -> datetime:
        """The moment asked for; now for none, for nonsense, and for what is to come."""
        text = self.cleaned_data.get("at", "") if self.is_valid() else ""
        try:
            found = parse_datetime(text.replace(" ", "+")) if text else None
            if found is not None:
                found = (found if found.tzinfo else timezone.make_aware(found, UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            found = None
        now = timezone.now()
        return min(found, now) if found is not None and found.year >= 2000 else now


SEARCH = forms.TextInput(attrs={"type": "search"})


class LogForm(forms.Form):
    """Whose lines of a log, of which request, with which words; from its provider, or from where they are kept too."""

    tenant = forms.CharField(required=False, max_length=63, widget=SEARCH)
    request = forms.CharField(label="Request", required=False, max_length=64, widget=SEARCH)
    text = forms.CharField(label="Holds", required=False, max_length=200, widget=SEARCH)
    kept = forms.BooleanField(required=False)

    def wanted(self) -> Wanted:
        """What was asked for; all lines for nonsense."""
        if not self.is_valid():
            return Wanted()
        return Wanted(**{name: self.cleaned_data[name].strip() for name in ("tenant", "request", "text")})

    def query(self) -> dict[str, str]:
        """The same for an address; empty for all lines of the provider."""
        found = {name: value for name, value in asdict(self.wanted()).items() if value}
        return {**found, **({"kept": "1"} if self.is_valid() and self.cleaned_data["kept"] else {})}


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
