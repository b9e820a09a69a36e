"""The addresses of access: people, grants, and the link that signs one person in."""

from django.urls import path

from . import explain_views, group_views, people_views, role_views, views

app_name = "access"
urlpatterns = [
    path("", people_views.people, name="people"),
    path("people/<int:pk>/", people_views.person, name="person"),
    path("people/<int:pk>/give/", people_views.give, name="give"),
    path("grants/<int:pk>/take/", people_views.take, name="take"),
    path("roles/", role_views.roles, name="roles"),
    path("roles/new/", role_views.new_role, name="new_role"),
    path("roles/<int:pk>/", role_views.role, name="role"),
    path("roles/<int:pk>/delete/", role_views.delete_role, name="delete_role"),
    path("groups/", group_views.groups, name="groups"),
    path("groups/new/", group_views.new_group, name="new_group"),
    path("groups/<int:pk>/", group_views.group, name="group"),
    path("groups/<int:pk>/give/", group_views.give, name="give_to_group"),
    path("groups/<int:pk>/put-in/", group_views.put_in, name="put_in_group"),
    path("groups/<int:pk>/take-out/", group_views.take_out, name="take_out_of_group"),
    path("why/", explain_views.why, name="why"),
    path("signin/", views.signin_link, name="signin_link"),
]
