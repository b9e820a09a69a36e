"""SCIM's addresses, named as the RFC writes them: without a slash at the end."""

from django.urls import path

from . import views

app_name = "scim"
urlpatterns = [
    path("ServiceProviderConfig", views.config, name="config"),
    path("ResourceTypes", views.types, name="types"),
    path("ResourceTypes/<str:name>", views.one_type, name="type"),
    path("Schemas", views.schemas, name="schemas"),
    path("Schemas/<str:name>", views.schema, name="schema"),
    path("Users", views.users, name="users"),
    path("Users/<str:pk>", views.user, name="user"),
    path("Groups", views.groups_, name="groups"),
    path("Groups/<str:pk>", views.group, name="group"),
]
