"""The shell's addresses; they bear the ground floor's name, which cannot import what guards them."""

from django.urls import path

from . import shell_views as views

app_name = "core"
urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("bar/", views.bar, name="bar"),
    path("palette/", views.search, name="palette"),
    path("views/save/", views.save_view, name="save_view"),
    path("views/<int:pk>/delete/", views.delete_view, name="delete_view"),
]
