"""The form of a telemetry source. Its tokens are never shown again."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from apps.accounts.models import Account
from apps.fleet.charting import FIGURES
from apps.fleet.models import Cell

from ..forms import PlacedForm
from ..models import TelemetrySource
from .prometheus import QUERIES

KEPT = "kept sealed and never shown; empty leaves it as it is"


def _token(label: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "off"})
    return forms.CharField(label=label, required=False, max_length=2_000, help_text=KEPT, widget=widget)


class TelemetryForm(PlacedForm, forms.ModelForm):  # type: ignore[type-arg]
    """What is asked, where it is, for which place."""

    kinds = (Cell, Account)
    prometheus_token = _token("Prometheus token")
    loki_token = _token("Loki token")
    promql = forms.CharField(
        label="Queries",
        required=False,
        max_length=5_000,
        widget=forms.Textarea(attrs={"rows": 5, "class": "mono", "spellcheck": "false"}),
        help_text=f"where the product's metrics have other names: a line `figure = PromQL` for each, with $selector, $by and "
        f"$window; figures are {', '.join(FIGURES)}. As it is: requests = {QUERIES['requests']}",
    )

    class Meta:
        model = TelemetrySource
        fields = (
            "name", "prometheus_url", "loki_url", "org_id", "instance_label", "tenant_label", "grafana_url", "is_enabled",
        )  # fmt: skip

    field_order = (
        "name", "place", "prometheus_url", "prometheus_token", "loki_url", "loki_token", "org_id", "instance_label",
        "tenant_label", "promql", "grafana_url", "is_enabled",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].help_text = "name of a cell or account; empty: everything"
        if self.instance.pk:
            self.initial["place"] = str(self.instance.cell or self.instance.account or "")
            self.initial["promql"] = "\n".join(f"{k} = {v}" for k, v in self.instance.queries.items())

    def clean_promql(self) -> dict[str, str]:
        lines = [line.strip() for line in self.cleaned_data["promql"].splitlines() if line.strip()]
        if any("=" not in line for line in lines):
            raise ValidationError("Write each line as figure = PromQL.")
        pairs = (line.split("=", 1) for line in lines)
        return {name.strip(): query.strip() for name, query in pairs}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self.instance.queries = cleaned.get("promql") or {}
        self.put_place(self.instance)
        return cleaned

    def _post_clean(self) -> None:
        # The service checks the row, constraints included, once addresses are in their form.
        self.instance = forms.models.construct_instance(self, self.instance, self._meta.fields)
