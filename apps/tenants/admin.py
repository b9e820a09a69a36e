"""Data fixes of tenants, plans, subscriptions, and of the names by which tenants are found."""

from django.contrib import admin

from apps.access.fixadmin import FixAdmin, VisibleRelated

from .models import Contact, Domain, ExternalId, Plan, Subscription, Tenant


@admin.register(Plan)
class PlanAdmin(FixAdmin):
    """The price list is everybody's: only who may fix everything changes it."""

    write_on_everything = True
    list_display = ("name", "rank", "monthly_price", "currency", "is_dedicated")
    list_filter = ("is_dedicated", "currency")
    search_fields = ("name",)


@admin.register(Tenant)
class TenantAdmin(FixAdmin):
    list_display = ("name", "key", "state", "zone", "created_at")
    list_filter = ("state",)
    search_fields = ("name", "key")


@admin.register(Subscription)
class SubscriptionAdmin(FixAdmin):
    list_display = ("tenant", "plan", "seats", "monthly_price", "currency", "starts_on", "ends_on")
    list_filter = (("plan", VisibleRelated),)
    list_select_related = ("tenant", "plan")
    search_fields = ("tenant__name", "tenant__key")
    autocomplete_fields = ("tenant", "plan")


class PartAdmin(FixAdmin):
    """Something by which a tenant is reached or found."""

    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)


@admin.register(Contact)
class ContactAdmin(PartAdmin):
    list_display = ("name", "email", "role", "tenant")
    list_filter = ("role",)
    search_fields = ("email", "name")


@admin.register(Domain)
class DomainAdmin(PartAdmin):
    list_display = ("name", "tenant", "is_primary")
    list_filter = ("is_primary",)
    search_fields = ("name",)


@admin.register(ExternalId)
class ExternalIdAdmin(PartAdmin):
    list_display = ("system", "value", "tenant")
    search_fields = ("value",)
