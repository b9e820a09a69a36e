"""The operations' addresses."""

from django.urls import path

from .views import acting, planning, reading, ruling

app_name = "operations"
urlpatterns = [
    path("", reading.operations, name="list"),
    path("<int:pk>/", reading.operation, name="operation"),
    path("<int:pk>/approve/", reading.approve, name="approve"),
    path("<int:pk>/cancel/", reading.cancel, name="cancel"),
    path("act/<slug:kind>/<int:target_id>/", acting.act, name="act"),
    path("bulk/", acting.bulk, name="bulk"),
    path("batch/<uuid:pk>/", acting.batch, name="batch"),
    path("batch/<uuid:pk>/approve/", acting.approve_batch, name="approve_batch"),
    path("batch/<uuid:pk>/cancel/", acting.cancel_batch, name="cancel_batch"),
    path("schedules/", planning.schedules, name="schedules"),
    path("schedules/new/", planning.new_schedule, name="new_schedule"),
    path("schedules/<int:pk>/", planning.edit_schedule, name="schedule"),
    path("schedules/<int:pk>/switch/", planning.switch_schedule, name="switch_schedule"),
    path("schedules/<int:pk>/delete/", planning.delete_schedule, name="delete_schedule"),
    path("rules/", ruling.approval_rules, name="approval_rules"),
    path("rules/<int:pk>/end/", ruling.end_rule, name="end_rule"),
    path("rules/changes/<int:pk>/decide/", ruling.decide_rule_change, name="decide_rule_change"),
]
