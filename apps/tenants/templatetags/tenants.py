"""What the tenants' templates say."""

from django import template

from ..money import money
from ..tables import state_tag

register = template.Library()
register.simple_tag(money, name="money")
register.simple_tag(state_tag, name="tenant_state")
