"""Addresses of releases, rollouts and exposure."""

from django.urls import path

from .views import exposure, hotpatches, releases, rollouts, rules

app_name = "releases"
urlpatterns = [
    path("", releases.release_list, name="list"),
    path("new/", releases.new_release, name="new"),
    path("compare/", releases.compare_releases, name="compare"),
    path("<int:pk>/", releases.release, name="release"),
    path("<int:pk>/move/", releases.move, name="move"),
    path("<int:pk>/sbom/", releases.sbom, name="upload_sbom"),
    path("<int:pk>/artifacts/", releases.artifact, name="add_artifact"),
    path("rollouts/", rollouts.rollout_list, name="rollouts"),
    path("rollouts/new/", rollouts.new_rollout, name="new_rollout"),
    path("rollouts/<int:pk>/", rollouts.rollout, name="rollout"),
    path("rollouts/<int:pk>/order/", rollouts.order, name="steer"),
    path("rollouts/<int:pk>/schedule/", rollouts.schedule, name="schedule"),
    path("rollouts/<int:pk>/newcomers/", rollouts.take_in, name="take_in"),
    path("rollouts/<int:pk>/extend/", hotpatches.extend_hot_patch, name="extend_hot_patch"),
    path("rollouts/hot-patch/", hotpatches.new_hot_patch, name="new_hot_patch"),
    path("rollouts/<int:pk>/report.json", rollouts.rollout_report, name="report"),
    path("rollouts/targets/<int:target_pk>/", rollouts.order_target, name="steer_target"),
    path("calendar/", rollouts.calendar, name="calendar"),
    path("advisories/", exposure.advisory_list, name="advisories"),
    path("advisories/import/", exposure.import_document, name="import_advisory"),
    path("advisories/<int:advisory_pk>/", exposure.advisory, name="advisory"),
    path("advisories/<int:advisory_pk>/burn-down.json", exposure.burn_down_figures, name="burn_down"),
    path("advisories/<int:advisory_pk>/not-affected/", exposure.not_affected, name="vex"),
    path("rules/", rules.rules, name="rules"),
    path("rules/holds/", rules.hold, name="add_hold"),
    path("rules/holds/<int:hold_pk>/end/", rules.hold_end, name="end_hold"),
    path("rules/freezes/", rules.freeze, name="add_freeze"),
    path("rules/freezes/<int:freeze_pk>/end/", rules.freeze_end, name="end_freeze"),
    path("rules/windows/", rules.window, name="add_window"),
    path("rules/windows/<int:window_pk>/end/", rules.window_end, name="end_window"),
    path("rules/limits/", rules.limit, name="set_policy"),
    path("rules/limits/<int:policy_pk>/approve/", rules.limit_approve, name="approve_policy"),
]
