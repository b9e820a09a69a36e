"""What the fleet's pages take in."""

from django import forms

from .queries.metrics import RANGES

DEFAULT_RANGE = "1h"


class RangeForm(forms.Form):
    """How far back a chart looks."""

    range = forms.ChoiceField(choices=[(name, name) for name in RANGES], required=False)

    def span(self) -> str:
        """The range asked for; the default for none and for nonsense."""
        chosen = self.cleaned_data.get("range") if self.is_valid() else ""
        return chosen or DEFAULT_RANGE
