"""Placeholder until the front end lands."""

from django import template

register = template.Library()
