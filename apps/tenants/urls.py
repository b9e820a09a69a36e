"""The tenants' addresses."""

from django.urls import path

from . import views

app_name = "tenants"
urlpatterns = [
    path("", views.tenant_list, name="list"),
    path("lookup/", views.lookup, name="lookup"),
    path("<int:pk>/", views.tenant, name="tenant"),
    path("<int:pk>/timeline/", views.timeline, name="timeline"),
    path("<int:pk>/access/", views.access, name="access"),
]
