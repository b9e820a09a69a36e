"""Forms of the books' entries."""

from typing import Any

from django import forms

from apps.accounts.models import Account
from apps.tenants.models import Tenant

from .forms import TiersField
from .models import BillSource, Budget, Commitment, Discount, Price, ProductComponent, Rate, SubAccount

DAY = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


def _tenant(**more: Any) -> forms.ModelChoiceField:  # type: ignore[type-arg]
    """A tenant by its key: five thousand would be a long menu."""
    return forms.ModelChoiceField(
        Tenant.objects.all(), to_field_name="key", widget=forms.TextInput, help_text="its key", **more,
        error_messages={"invalid_choice": "There is no tenant with this key."},
    )  # fmt: skip


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A metered price."""

    tiers = TiersField(help_text="As 1000: 0, 50000: 0.002, more: 0.001")

    class Meta:
        model = Price
        fields = ("plan", "meter", "tiers", "currency", "starts_on", "ends_on")
        widgets = {"starts_on": DAY, "ends_on": DAY}


class DiscountForm(forms.ModelForm):  # type: ignore[type-arg]
    """A tenant's discount."""

    tenant = _tenant()

    class Meta:
        model = Discount
        fields = ("tenant", "percent", "starts_on", "ends_on", "note")
        widgets = {"starts_on": DAY, "ends_on": DAY}


class CommitmentForm(forms.ModelForm):  # type: ignore[type-arg]
    """A tenant's commitment."""

    tenant = _tenant()

    class Meta:
        model = Commitment
        fields = ("tenant", "monthly_minimum", "currency", "starts_on", "ends_on")
        widgets = {"starts_on": DAY, "ends_on": DAY}


class RateForm(forms.ModelForm):  # type: ignore[type-arg]
    """A currency's rate."""

    class Meta:
        model = Rate
        fields = ("currency", "into", "rate", "day")
        widgets = {"day": DAY}


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg]
    """A budget."""

    tenant = _tenant(required=False)

    class Meta:
        model = Budget
        fields = ("name", "amount", "currency", "account", "tenant", "service")


class ComponentForm(forms.ModelForm):  # type: ignore[type-arg]
    """A component of the product."""

    class Meta:
        model = ProductComponent
        fields = ("name", "service", "sub_account", "tag", "position")


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address in object storage."""

    class Meta:
        model = BillSource
        fields = ("url",)
        labels = {"url": "Address"}


class PlaceForm(forms.Form):
    """Whose a sub-account is."""

    sub = forms.ModelChoiceField(SubAccount.objects.all(), label="Sub-account")
    account = forms.ModelChoiceField(Account.objects.all(), required=False, empty_label="none")
    tenant = _tenant(required=False)
