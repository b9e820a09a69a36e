"""The trail's addresses."""

from django.urls import path

from . import views

app_name = "audit"
urlpatterns = [
    path("", views.audit_list, name="list"),
    path("seals/", views.seal_list, name="seals"),
    path("seals/<int:number>.json", views.checkpoint, name="checkpoint"),
    path("streams/", views.stream_list, name="streams"),
    path("streams/retry/", views.retry_streams, name="retry_streams"),
    path("<int:pk>/", views.audit_entry, name="entry"),
]
