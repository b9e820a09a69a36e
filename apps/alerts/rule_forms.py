"""The form of a rule."""

from typing import Any

from django import forms

from apps.accounts.models import Account
from apps.core.fields import only_when
from apps.fleet.models import Cell

from .choices import RuleKind
from .forms import PlacedForm
from .models import AlertRule


class RuleForm(PlacedForm, forms.ModelForm):  # type: ignore[type-arg]
    """What is wrong, when, where, how bad."""

    kinds = (Cell, Account)

    class Meta:
        model = AlertRule
        fields = (
            "name", "kind", "metric", "direction", "threshold", "window", "objective", "least_requests", "query",
            "severity", "is_enabled",
        )  # fmt: skip
        widgets = {"query": forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"})}
        labels = {"window": "Window in seconds", "objective": "Objective in per cent", "query": "PromQL"}

    field_order = ("name", "kind", "metric", "direction", "threshold", "window", "place")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].help_text = "name of a cell or account; empty: everything"
        if self.instance.pk:
            self.initial["place"] = str(self.instance.cell or self.instance.account or "")
        compared = [RuleKind.THRESHOLD, RuleKind.CHANGE]
        counted = [*compared, RuleKind.BURN]
        own = [*counted, RuleKind.ABSENCE]
        only_when(
            self, "kind", metric=compared, direction=compared, threshold=counted, least_requests=counted
        )
        only_when(self, "kind", objective=[RuleKind.BURN], query=[RuleKind.PROMQL], window=own, place=own)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        is_query = cleaned.get("kind") == RuleKind.PROMQL
        if is_query != bool(cleaned.get("query")):
            self.add_error("query", "A query belongs to the kind “PromQL”, which needs one.")
        if is_query and self.found:
            self.add_error("place", "A query names its own places; leave this empty.")
        window, objective = cleaned.get("window") or 0, cleaned.get("objective") or 0
        if not 30 <= window <= 86_400:
            self.add_error("window", "Between 30 seconds and a day.")
        if not 0 < objective < 100:
            self.add_error("objective", "Between 0 and 100 per cent.")
        self.put_place(self.instance)
        return cleaned
