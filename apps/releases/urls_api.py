"""Addresses of releases for programs, version 1."""

from django.urls import path

from . import api

app_name = "releases_api"
urlpatterns = [
    path("releases", api.releases, name="releases"),
    path("releases/<str:version>/sbom", api.sbom, name="sbom"),
    path("rings", api.rings, name="rings"),
    path("advisories", api.advisories, name="advisories"),
]
