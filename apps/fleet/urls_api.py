"""The addresses for programs, version 1; they stand on the top floor, which may name the others."""

from django.urls import path

from apps.operations import api as operations_api
from apps.tenants import api as tenants_api

from . import api

app_name = "api"
urlpatterns = [
    path("instances", api.instances, name="instances"),
    path("tenants", tenants_api.tenants, name="tenants"),
    path("operations", operations_api.operations, name="operations"),
]
