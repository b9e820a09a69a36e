"""The money's addresses."""

from django.urls import path

from .views import books, earning, sums

app_name = "cost"
urlpatterns = [
    path("", sums.overview, name="overview"),
    path("breakdown/", sums.breakdown, name="breakdown"),
    path("lines/", sums.bill_lines, name="lines"),
    path("tenants/<int:pk>/", sums.tenant, name="tenant"),
    path("unallocated/", sums.unallocated, name="unallocated"),
    path("heavy/", earning.heavy, name="heavy"),
    path("margins/", earning.margin_list, name="margins"),
    path("lab/", earning.lab, name="lab"),
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
