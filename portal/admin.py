"""The one admin site: entry, look and permission are the portal's."""

from django.contrib.admin.apps import AdminConfig


class DaytwoAdminConfig(AdminConfig):
    """Django admin with the portal's own site as its default."""

    default_site = "apps.access.adminsite.FixSite"
