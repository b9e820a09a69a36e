"""The accounts' addresses."""

from django.urls import path

from . import views

app_name = "accounts"
urlpatterns = [
    path("", views.account_list, name="list"),
    path("<int:pk>/", views.account, name="account"),
    path("<int:pk>/timeline/", views.timeline, name="timeline"),
]
