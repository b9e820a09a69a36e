"""How the money's pages say an amount."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.templatetags import ui
from apps.tenants.money import SIGNS

from ..tables import state_tag

register = template.Library()


@register.simple_tag
def cost(amount: Decimal | None, currency: str) -> SafeString:
    """An amount to the cent, below a cent to three digits; every digit of it on hover."""
    if not isinstance(amount, Decimal):  # nothing there: a page without a bill
        return format_html('<span class="faint">{}</span>', "–")
    return format_html(
        '<span class="num nowrap" title="{} {}">{}</span>', exact(amount), currency, shown(amount, currency)
    )


@register.simple_tag
def money(amount: Decimal, currency: str) -> str:
    """An amount as `shown`, as text alone: where no element may stand."""
    return shown(amount, currency)


def shown(amount: Decimal, currency: str) -> str:
    """`$ 1,204.50`, `−$ 3.10`, `$ 0.0000413`: never without its currency."""
    size = abs(amount)
    figure = f"{size:,.2f}" if size >= Decimal("0.01") or not size else f"{Decimal(f'{size:.3g}'):f}"
    return f"{'−' if amount < 0 else ''}{SIGNS.get(currency, currency)}\u00a0{figure}"


@register.filter
def exact(amount: Decimal) -> str:
    """Every digit, without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def short(number: Decimal) -> str:
    """Six digits that count, for a screen."""
    return exact(Decimal(f"{number:.6g}"))


@register.filter
def percent(share: Decimal | float | None) -> str:
    """`12.5 %` of a share of one."""
    return "–" if share is None else f"{float(share) * 100:.1f} %"


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """A value by a key that a variable names; nothing where it is not there."""
    return mapping.get(key)


@register.filter
def decimal(text: str | None) -> Decimal | None:
    """An amount that a report keeps as text."""
    return None if text is None else Decimal(text)


@register.simple_tag
def share(amount: Decimal, total: Decimal, label: str) -> SafeString | str:
    """A bar of an amount's share; nothing of a credit or of nothing."""
    whole = float(total)
    return ui.meter(max(float(amount), 0.0), whole, "busy", str(label or "")) if whole > 0 else ""


@register.simple_tag
def bill_state(state: str) -> SafeString:
    """A bill's state as a tag."""
    return state_tag(state)
