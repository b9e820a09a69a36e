"""The fleet's addresses; its overview is the portal's first page."""

from django.urls import path, re_path

from .views import cells, certificates, instances, overview, tenants

app_name = "fleet"
urlpatterns = [
    path("", overview.fleet_overview, name="overview"),
    path("instances/", instances.instance_list, name="instances"),
    path("instances/<int:pk>/", instances.instance, name="instance"),
    path("instances/<int:pk>/live/", instances.instance_live, name="instance_live"),
    path("instances/<int:pk>/metrics/", instances.instance_charts, name="instance_charts"),
    path("instances/<int:pk>/metrics.json", instances.instance_metrics, name="instance_metrics"),
    path("instances/<int:pk>/changes/", instances.instance_changes, name="instance_changes"),
    path("instances/<int:pk>/logs/", instances.instance_log_page, name="instance_log_page"),
    path("instances/<int:pk>/logs.json", instances.instance_logs, name="instance_logs"),
    path("instances/<int:pk>/operations/", instances.instance_operations, name="instance_operations"),
    path("instances/<int:pk>/timeline/", instances.instance_timeline, name="instance_timeline"),
    path("instances/<int:pk>/diagnostics/", instances.instance_diagnostics, name="instance_diagnostics"),
    re_path(
        r"^diagnostics/(?P<pk>[0-9]{1,18})\.(?P<kind>zip|txt)$", instances.diagnostics, name="diagnostics"
    ),
    path("tenants/<int:pk>/metrics/", tenants.tenant_charts, name="tenant_charts"),
    path("tenants/<int:pk>/metrics.json", tenants.tenant_metrics, name="tenant_metrics"),
    path("certificates/", certificates.certificate_list, name="certificates"),
    path("certificates/renewal/new/", certificates.new_renewal, name="new_renewal"),
    path("certificates/renewal/<int:pk>/", certificates.renewal, name="renewal"),
    path("certificates/issuers/new/", certificates.new_issuer, name="new_issuer"),
    path("certificates/issuers/<int:pk>/", certificates.issuer, name="issuer"),
    path("certificates/issuers/<int:pk>/test/", certificates.test_issuer, name="test_issuer"),
    path("cells/", cells.cell_list, name="cells"),
    path("cells/<int:pk>/", cells.cell, name="cell"),
]
