from django.urls import path

from . import views

app_name = "access"
urlpatterns = [path("signin/", views.signin_link, name="signin_link")]
