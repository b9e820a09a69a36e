"""Alerting's addresses. What is under in/ is for machines, each with a secret of its own."""

from django.urls import path

from .views import inbox, incidents, managing, overrides, recovery

app_name = "alerts"
urlpatterns = [
    path("in/alertmanager/", inbox.alertmanager, name="alertmanager"),
    path("in/webhook/<int:pk>/", inbox.webhook, name="webhook"),
    path("in/heartbeat/<uuid:token>/", inbox.heartbeat, name="heartbeat"),
    path("prometheus/targets.json", inbox.http_sd, name="http_sd"),
    path("", incidents.alerts, name="alerts"),
    path("incidents/", incidents.incidents, name="incidents"),
    path("incidents/<int:pk>/", incidents.incident, name="incident"),
    path("incidents/<int:pk>/acknowledge/", incidents.acknowledge, name="acknowledge"),
    path("incidents/<int:pk>/command/", incidents.command, name="command"),
    path("incidents/<int:pk>/resolve/", incidents.resolve, name="resolve"),
    path("incidents/<int:pk>/note/", incidents.note, name="note"),
    path("incidents/<int:pk>/post-mortem/", incidents.postmortem, name="postmortem"),
    path("silences/", incidents.silences, name="silences"),
    path("silences/new/", incidents.new_silence, name="new_silence"),
    path("silences/<int:pk>/end/", incidents.end_silence, name="end_silence"),
    path("on-call/", managing.on_call, name="on_call"),
    path("on-call/new/", managing.new_schedule, name="new_schedule"),
    path("on-call/<int:pk>/", managing.schedule, name="schedule"),
    path("on-call/overrides/", overrides.overrides, name="overrides"),
    path("on-call/overrides/new/", overrides.new_override, name="new_override"),
    path("on-call/overrides/<int:pk>/end/", overrides.end_override, name="end_override"),
    path("escalation/new/", managing.new_escalation, name="new_escalation"),
    path("escalation/<int:pk>/", managing.escalation, name="escalation"),
    path("channels/", managing.channels, name="channels"),
    path("channels/new/", managing.new_channel, name="new_channel"),
    path("channels/<int:pk>/", managing.channel, name="channel"),
    path("channels/<int:pk>/test/", managing.test_channel, name="test_channel"),
    path("sources/", managing.sources, name="sources"),
    path("sources/new/", managing.new_source, name="new_source"),
    path("heartbeats/new/", managing.new_heartbeat, name="new_heartbeat"),
    path("recovery/", recovery.recoveries, name="recoveries"),
    path("recovery/new/", recovery.new_recovery, name="new_recovery"),
    path("recovery/<int:pk>/", recovery.recovery, name="recovery"),
    path("recovery/<int:pk>/edit/", recovery.edit_recovery, name="edit_recovery"),
    path("recovery/<int:pk>/switch/", recovery.switch_recovery, name="switch_recovery"),
    path("recovery/<int:pk>/breaker/", recovery.close_breaker, name="close_breaker"),
]
