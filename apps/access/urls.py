"""The addresses of access: people, grants, and the link that signs one person in."""

from django.urls import path

from . import (
    asking_views,
    breaking_views,
    explain_views,
    group_views,
    people_views,
    pre_approval_views,
    role_views,
    session_views,
    token_views,
    views,
)

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
    path("mine/", asking_views.mine, name="mine"),
    path("requests/", asking_views.requests, name="requests"),
    path("requests/ask/", asking_views.ask, name="ask"),
    path("requests/<int:pk>/", asking_views.request, name="request"),
    path("requests/<int:pk>/decide/", asking_views.decide, name="decide"),
    path("requests/<int:pk>/withdraw/", asking_views.withdraw, name="withdraw"),
    path("requests/<int:pk>/give-back/", asking_views.give_back, name="give_back"),
    path("requests/<int:pk>/extend/", asking_views.extend, name="extend"),
    path("pre-approvals/", pre_approval_views.pre_approvals, name="pre_approvals"),
    path("pre-approvals/new/", pre_approval_views.new_pre_approval, name="new_pre_approval"),
    path(
        "pre-approvals/<int:pk>/delete/", pre_approval_views.delete_pre_approval, name="delete_pre_approval"
    ),
    path("broken/", breaking_views.broken, name="broken"),
    path("break-glass/", breaking_views.break_glass, name="break_glass"),
    path("broken/<int:pk>/", breaking_views.glass, name="glass"),
    path("broken/<int:pk>/end/", breaking_views.end, name="end_glass"),
    path("broken/<int:pk>/explain/", breaking_views.explain, name="explain_glass"),
    path("broken/<int:pk>/review/", breaking_views.review, name="review_glass"),
    path("tokens/", token_views.tokens, name="tokens"),
    path("tokens/new/", token_views.new_token, name="new_token"),
    path("tokens/<int:pk>/revoke/", token_views.revoke_token, name="revoke_token"),
    path("sessions/", session_views.sessions, name="sessions"),
    path("sessions/<int:pk>/end/", session_views.end_session, name="end_session"),
    path("people/<int:pk>/end-sessions/", session_views.end_sessions, name="end_sessions"),
    path("signin/", views.signin_link, name="signin_link"),
]
