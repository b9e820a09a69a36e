"""The money's addresses."""

from django.urls import path

from .views import books, bringing, deciding, earning, ledgers, sums, units, watches

app_name = "cost"
urlpatterns = [
    path("", sums.overview, name="overview"),
    path("breakdown/", sums.breakdown, name="breakdown"),
    path("focus/", sums.focus, name="focus"),
    path("lines/", sums.bill_lines, name="lines"),
    path("tenants/<int:pk>/", sums.tenant, name="tenant"),
    path("unallocated/", sums.unallocated, name="unallocated"),
    path("heavy/", earning.heavy, name="heavy"),
    path("margins/", earning.margin_list, name="margins"),
    path("units/", units.unit_costs, name="units"),
    path("months/", units.months, name="months"),
    path("cohorts/", units.cohorts, name="cohorts"),
    path("lab/", earning.lab, name="lab"),
    path("idle/", deciding.idle_instances, name="idle"),
    path("placing/", deciding.placing_advice, name="placing"),
    path("move/", deciding.move, name="move"),
    path("anomalies/", watches.anomalies, name="anomalies"),
    path("usage/", bringing.usage, name="usage"),
    path("revenue/", bringing.revenue, name="revenue"),
    path("bring/<slug:kind>/", bringing.bring, name="bring"),
    path("books/<slug:book>/", ledgers.ledger, name="ledger"),
    path("books/<slug:book>/add/", ledgers.add_entry, name="add_entry"),
    path("books/<slug:book>/<int:pk>/remove/", ledgers.remove_entry, name="remove_entry"),
    path("rules/", books.rules, name="rules"),
    path("rules/add/", books.add_rule, name="add_rule"),
    path("rules/activate/", books.activate, name="activate"),
    path("rules/discard/", books.discard_draft, name="discard_draft"),
    path("rules/<int:pk>/remove/", books.remove_rule, name="remove_rule"),
    path("bills/", books.bills, name="bills"),
    path("bills/new/", books.upload, name="upload"),
    path("bills/<int:pk>/", books.bill, name="bill"),
    path("bills/<int:pk>/retry/", books.retry, name="retry"),
]
