"""Money for people: an amount never without its currency."""

from decimal import Decimal

SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}


def money(amount: Decimal, currency: str) -> str:
    """`€ 4,900`, `$ 99.50`, `CHF 1,200`: cents only where there are any."""
    figure = f"{amount:,.0f}" if amount == amount.to_integral_value() else f"{amount:,.2f}"
    return f"{SIGNS.get(currency, currency)}\u00a0{figure}"
