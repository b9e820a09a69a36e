"""The addresses of access: people, grants, and the link that signs one person in."""

from django.urls import path

from . import people_views, views

app_name = "access"
urlpatterns = [
    path("", people_views.people, name="people"),
    path("people/<int:pk>/", people_views.person, name="person"),
    path("people/<int:pk>/give/", people_views.give, name="give"),
    path("grants/<int:pk>/take/", people_views.take, name="take"),
    path("signin/", views.signin_link, name="signin_link"),
]
