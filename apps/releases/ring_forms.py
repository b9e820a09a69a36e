"""Forms of rings and of who is in them."""

from typing import Any

from django import forms

from apps.access.scoping import visible
from apps.tenants.models import Plan, Tenant

from .forms import reason_field, tenant_of
from .models import Ring


class RingForm(forms.ModelForm):  # type: ignore[type-arg]
    """A ring; one of the same name is changed."""

    position = forms.IntegerField(
        required=False, min_value=1, max_value=1_000, help_text="1 comes first; empty: the last"
    )
    reason = reason_field()

    class Meta:
        model = Ring
        fields = ("name", "position", "description", "rest_seconds", "lets_security_through")
        labels = {
            "rest_seconds": "Rest before the next ring (s)",
            "lets_security_through": "Security releases do not wait",
        }

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        name = (data or {}).get("name", "").strip()
        named = Ring.objects.filter(name=name).first() if name else None
        super().__init__(data, instance=named, auto_id="ring-%s", **kwargs)


class RingMemberForm(forms.Form):
    """A tenant or a plan, and its ring."""

    tenant = forms.CharField(required=False, max_length=63, help_text="its key; or choose a plan")
    plan = forms.ModelChoiceField(Plan.objects.none(), required=False, empty_label="no plan: a tenant")
    ring = forms.ModelChoiceField(Ring.objects.none(), required=False, empty_label="in none of its own")
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "member-%s", **kwargs})
        self.user = user
        plan: Any = self.fields["plan"]
        plan.queryset = visible(user, Plan)
        ring: Any = self.fields["ring"]
        ring.queryset = visible(user, Ring)

    def clean_tenant(self) -> Tenant | None:
        key = self.cleaned_data["tenant"].strip()
        return tenant_of(self.user, key) if key else None
