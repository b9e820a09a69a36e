"""What people send: files, rules, the question a page is asked."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from apps.core import strict_json
from apps.core.fields import only_when
from apps.tenants.models import Plan, Tenant

from . import pricing
from .choices import Driver, RuleKind
from .models import Price, Rule
from .queries import moving
from .queries.courses import SHOWS
from .queries.figures import DIMENSIONS, MEASURES
from .queries.placing import DRIVERS
from .queries.revenue import Tried
from .queries.units import GROUPINGS


class ManyFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files at once."""

    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        single = super().clean
        files = data if isinstance(data, list | tuple) else [data]
        return [single(one, initial) for one in files] or [single(None, initial)]


class UploadForm(forms.Form):
    """One delivery: a file, or all parts of one export."""

    delivery = FilesField(
        label="Files",
        help_text="FOCUS 1.0 or later, as .csv, .csv.gz or .parquet. Several parts of one export go together.",
    )


class BringForm(forms.Form):
    """A table of usage or of revenue."""

    table = forms.FileField(label="Table", max_length=200)


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule of the draft."""

    place = forms.IntegerField(
        min_value=1, max_value=999, required=False, label="Place", help_text="1 is asked first; empty: last."
    )
    tenant = forms.ModelChoiceField(
        Tenant.objects.all(),
        required=False,
        to_field_name="key",
        widget=forms.TextInput,
        help_text="Its key, for “all to one tenant”.",
    )
    shares = forms.CharField(
        required=False, label="Fixed shares", help_text="Tenant key and whole number, as acme: 3, globex: 1"
    )

    class Meta:
        model = Rule
        fields = ("kind", "tag", "service", "sub_account", "category", "driver", "tenant", "shares")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = {"tag": [RuleKind.TAG], "driver": [RuleKind.USAGE]}
        only_when(self, "kind", tenant=[RuleKind.FIXED], shares=[RuleKind.SHARES], **fields)

    def clean_shares(self) -> dict[str, int]:
        """Raises ValidationError where a part is no `key: number`."""
        text = self.cleaned_data["shares"].strip()
        if not text:
            return {}
        if text.startswith("{"):
            try:
                made = strict_json.loads(text)
            except ValueError as error:
                raise forms.ValidationError("Write it as acme: 3, globex: 1") from error
            return made if isinstance(made, dict) else {}
        shares = {}
        for part in text.split(","):
            key, _, weight = part.partition(":")
            number = weight.strip()
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                raise forms.ValidationError(
                    f"“{part.strip()[:60]}” is no key with a whole number, as acme: 3"
                )
            shares[key.strip()] = int(number)
        return shares


class ActivateForm(forms.Form):
    """Why the draft becomes what counts."""

    note = forms.CharField(label="What changes, and why", min_length=3, max_length=300)


class Question(forms.Form):
    """What a page of sums is asked: month, currency, dimensions, narrowings. A bad value counts as none."""

    month = forms.DateField(required=False, input_formats=["%Y-%m"])
    currency = forms.RegexField(r"^[A-Z]{3}$", required=False)
    by = forms.ChoiceField(choices=[(name, name) for name in DIMENSIONS], required=False)
    then = forms.ChoiceField(choices=[("", ""), *((name, name) for name in DIMENSIONS)], required=False)
    measure = forms.ChoiceField(choices=[(name, name) for name in MEASURES], required=False)
    tenant = forms.RegexField(r"^(none|\d{1,18})$", required=False)
    account = forms.RegexField(r"^(none|\d{1,18})$", required=False)
    rule = forms.RegexField(r"^(none|\d{1,18})$", required=False)
    sub_account = forms.RegexField(r"^\d{1,18}$", required=False)
    service = forms.CharField(max_length=120, required=False)
    day = forms.DateField(required=False)
    span = forms.ChoiceField(choices=[("1", "1"), ("3", "3"), ("6", "6"), ("12", "12")], required=False)
    revenue = forms.ChoiceField(choices=[("invoiced", "invoiced")], required=False)
    per = forms.ChoiceField(choices=[(name, name) for name in GROUPINGS], required=False)
    meter = forms.ChoiceField(choices=Driver.choices, required=False)
    show = forms.ChoiceField(choices=[(name, name) for name in SHOWS], required=False)
    back = forms.ChoiceField(choices=[("12", "12"), ("24", "24")], required=False)

    def asked(self) -> dict[str, Any]:
        """The values that are there and good."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}


def where_of(asked: dict[str, Any]) -> dict[str, Any]:
    """A question's narrowings as conditions on facts."""
    where: dict[str, Any] = {}
    for name in ("tenant", "account", "rule", "sub_account"):
        if name in asked:
            none = asked[name] == "none"
            where[f"{name}_id__isnull" if none else f"{name}_id"] = True if none else int(asked[name])
    for name in ("service", "day", "currency"):
        if name in asked:
            where[name] = asked[name]
    return where


class TiersField(forms.CharField):
    """Tiers as `1000: 0, more: 0.002`."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            tiers = pricing.parse_tiers(text) if text else []
            if tiers:
                pricing.check_tiers(tiers)
            return tiers
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class LabForm(forms.Form):
    """Other monthly prices, by plan, and a discount on all of them."""

    discount = forms.DecimalField(
        label="Discount on all, %",
        required=False,
        min_value=-100,
        max_value=100,
        max_digits=5,
        decimal_places=2,
    )

    def __init__(self, data: Any, plans: list[Plan], metered: list[Price]) -> None:
        super().__init__(data or None)
        self.plans, self.metered = plans, metered
        for plan in plans:
            self.fields[f"price_{plan.pk}"] = forms.DecimalField(
                label=f"{plan.name}, {plan.currency} a month", required=False, min_value=0, max_digits=14, decimal_places=2,
                widget=forms.NumberInput(attrs={"placeholder": f"{plan.monthly_price}"}),
            )  # fmt: skip
        for price in metered:
            self.fields[f"tier_{price.pk}"] = TiersField(
                label=f"{price.plan.name}, {price.get_meter_display().lower()}", required=False,
                widget=forms.TextInput(attrs={"placeholder": pricing.in_words(price.tiers)}),
            )  # fmt: skip

    def tried(self) -> Tried:
        """The prices to try; those that count where nothing was asked or a value is bad."""
        if not self.is_bound or not self.is_valid():
            return Tried()
        factor = 1 - (self.cleaned_data["discount"] or Decimal(0)) / 100
        asked = {plan: self.cleaned_data[f"price_{plan.pk}"] for plan in self.plans}
        prices = {plan.pk: price for plan, price in asked.items() if price is not None}
        currencies = {plan.pk: plan.currency for plan in self.plans}
        tiers = {
            (one.plan_id, one.meter): pricing.tiers_of(made)
            for one in self.metered
            if (made := self.cleaned_data[f"tier_{one.pk}"])
        }
        return Tried(prices, currencies if prices else {}, tiers, factor)


class MoveForm(forms.Form):
    """Another placement to try."""

    tenant = forms.CharField(max_length=120, help_text="its key")
    to = forms.CharField(
        max_length=63, label="To instance", required=False, help_text="empty: one of its own"
    )
    cell = forms.CharField(max_length=63, required=False, help_text="of its own, where")
    driver = forms.ChoiceField(
        label="Shared by", choices=[(one.value, one.label) for one in DRIVERS], required=False
    )

    def question(self) -> moving.Question | None:
        """What to answer; nothing where nothing, or nothing good, was asked."""
        if not self.is_bound or not self.is_valid():
            return None
        told = self.cleaned_data
        return moving.Question(told["tenant"], told["to"], told["cell"], told["driver"] or Driver.REQUESTS)


def default_month(known: list[date], asked: dict[str, Any]) -> date | None:
    """The month asked for where there are bills of it, else the newest."""
    wanted: date | None = asked.get("month")
    return wanted if wanted in known else (known[0] if known else None)
