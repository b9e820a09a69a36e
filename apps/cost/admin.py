"""Data fixes of what people decide about money. What is computed from bills is read only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin

from . import metering
from .models import (
    Anomaly,
    Bill,
    BillSource,
    Budget,
    Commitment,
    CostSeries,
    DayCost,
    Discount,
    ExpectedMonth,
    ExpectedRevenue,
    InputChange,
    InstanceCost,
    InstanceDay,
    MonthlyCost,
    MonthlyUsage,
    Price,
    ProductComponent,
    Rate,
    Revenue,
    Rule,
    RuleSet,
    Run,
    Statement,
    SubAccount,
    TenantCost,
    Usage,
)  # fmt: skip


class CompanyWide:
    """Money that spans accounts: for who fixes data on everything."""

    on_everything = True


@admin.register(Bill)
class BillAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("name", "state", "lines", "received_by", "created_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("name", "digest")


@admin.register(BillSource)
class BillSourceAdmin(CompanyWide, FixAdmin):
    list_display = ("url", "looked_at", "error")


@admin.register(Statement)
class StatementAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("provider", "billing_account", "period_start", "currency", "billed", "is_current")
    list_filter = ("is_current", "provider")
    search_fields = ("billing_account", "billing_account_name")


@admin.register(Run)
class RunAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("id", "statement", "ruleset", "is_current", "allocated", "overhead", "unallocated")
    list_filter = ("is_current",)
    list_select_related = ("statement", "ruleset")


@admin.register(CostSeries)
class CostSeriesAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("run", "tenant", "account", "service", "currency", "billed")
    list_select_related = ("run", "tenant", "account")
    raw_id_fields = ("run", "tenant", "account", "sub_account", "rule")


@admin.register(TenantCost)
class TenantCostAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("run", "tenant", "currency", "billed")
    list_select_related = ("run", "tenant")
    raw_id_fields = ("run", "tenant")


@admin.register(MonthlyCost)
class MonthlyCostAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("run", "tenant", "account", "service", "currency", "billed")
    list_select_related = ("run", "tenant", "account")
    raw_id_fields = ("run", "tenant", "account", "sub_account", "rule")


@admin.register(DayCost)
class DayCostAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("day", "account", "service", "to_tenants", "currency", "billed")
    list_select_related = ("account",)
    raw_id_fields = ("run", "account", "sub_account", "rule")


@admin.register(InstanceDay)
class InstanceDayAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("day", "instance", "seconds", "requests", "cpu", "memory")
    list_select_related = ("instance",)


@admin.register(InstanceCost)
class InstanceCostAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("statement", "instance", "billed", "lines")
    list_select_related = ("statement", "instance")


@admin.register(SubAccount)
class SubAccountAdmin(FixAdmin):
    """Whose a sub-account is decides who sees its cost: only who may fix everything places one."""

    write_on_everything = True
    list_display = ("name", "external_id", "provider", "account", "tenant")
    list_filter = ("provider",)
    list_select_related = ("account", "tenant")
    search_fields = ("name", "external_id")
    autocomplete_fields = ("account", "tenant")


@admin.register(RuleSet)
class RuleSetAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("version", "state", "note", "activated_at")


@admin.register(Rule)
class RuleAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("ruleset", "position", "kind", "service", "tag", "tenant", "driver")
    list_select_related = ("ruleset", "tenant")


@admin.register(Usage)
class UsageAdmin(CompanyWide, FixAdmin):
    """Prices are reckoned by the sums of months, which follow what is mended here."""

    list_display = ("day", "driver", "tenant", "amount")
    list_filter = ("driver",)
    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        metering.mend({obj.day, form.initial.get("day") or obj.day})

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        metering.mend({obj.day})

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        days = set(queryset.values_list("day", flat=True))
        super().delete_queryset(request, queryset)
        metering.mend(days)


@admin.register(Rate)
class RateAdmin(CompanyWide, FixAdmin):
    list_display = ("day", "currency", "into", "rate")
    list_filter = ("currency", "into")


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("month", "driver", "tenant", "amount")
    list_filter = ("driver",)
    list_select_related = ("tenant",)


@admin.register(Price)
class PriceAdmin(CompanyWide, FixAdmin):
    list_display = ("plan", "meter", "currency", "starts_on", "ends_on")
    list_filter = ("meter",)
    list_select_related = ("plan",)


@admin.register(Discount)
class DiscountAdmin(CompanyWide, FixAdmin):
    list_display = ("tenant", "percent", "starts_on", "ends_on")
    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)


@admin.register(Commitment)
class CommitmentAdmin(CompanyWide, FixAdmin):
    list_display = ("tenant", "monthly_minimum", "currency", "starts_on", "ends_on")
    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)


@admin.register(ExpectedMonth)
class ExpectedMonthAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("month", "currency", "version", "reckoned_at")
    list_filter = ("currency",)


@admin.register(ExpectedRevenue)
class ExpectedRevenueAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("month", "currency", "tenant", "plan", "amount", "missing")
    list_filter = ("currency",)
    list_select_related = ("tenant", "plan")
    raw_id_fields = ("tenant", "plan")


@admin.register(InputChange)
class InputChangeAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("kind", "first", "last", "count")
    list_filter = ("kind",)


@admin.register(Revenue)
class RevenueAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("month", "source", "customer", "tenant", "currency", "amount")
    list_filter = ("source",)
    list_select_related = ("tenant",)
    search_fields = ("line", "customer")


@admin.register(ProductComponent)
class ComponentAdmin(CompanyWide, FixAdmin):
    list_display = ("name", "service", "sub_account", "tag", "position")


@admin.register(Budget)
class BudgetAdmin(CompanyWide, FixAdmin):
    list_display = ("name", "amount", "currency", "state")
    autocomplete_fields = ("account", "tenant")


@admin.register(Anomaly)
class AnomalyAdmin(CompanyWide, ReadOnlyAdmin):
    list_display = ("day", "tenant", "service", "amount", "expected", "score")
    list_select_related = ("tenant",)
