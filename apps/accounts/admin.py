"""Data fixes of cloud accounts and regions."""

from django.contrib import admin

from apps.access.fixadmin import FixAdmin, VisibleRelated

from .models import Account, Region


@admin.register(Account)
class AccountAdmin(FixAdmin):
    list_display = ("name", "cloud", "owner", "external_id", "contact")
    list_filter = ("cloud", "owner")
    search_fields = ("name", "external_id", "contact")


@admin.register(Region)
class RegionAdmin(FixAdmin):
    list_display = ("code", "name", "account", "jurisdiction")
    list_filter = (("account", VisibleRelated), "jurisdiction")
    list_select_related = ("account",)
    search_fields = ("code", "name", "account__name")
    autocomplete_fields = ("account",)
