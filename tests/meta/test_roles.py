"""Every address of ours × every role, in scope and out of it: what it answers, what it shows, what it changes.

The table below is complete or the suite fails: a new view needs a row. What a row says is what must hold,
so read a change of it as a change of who may do what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.db.models import Max
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from apps.access import services as access_services
from apps.access.models import AccessRequest, Grant
from apps.alerts.models import (
    Channel,
    EscalationPolicy,
    Heartbeat,
    Incident,
    OnCallSchedule,
    RecoveryPolicy,
    Silence,
    Source,
)
from apps.alerts.models import Page as AlertPage
from apps.audit.choices import EventKind
from apps.audit.models import AuditEntry
from apps.audit.telling import REFUSALS
from apps.core.models import Event, SavedView
from apps.cost.models import Bill, Rule, RuleSet
from apps.operations import previews
from apps.operations.models import Batch, Operation, Schedule
from apps.releases.models import metrics
from tests import factories
from tests.meta.routes import METHODS, Route, ours
from tests.meta.world import ROLES, RUNBOOK, World, missing
from tests.releases.test_exposure import cyclonedx, osv

pytestmark = pytest.mark.django_db

#: Addresses that share a world in one test.
HANDFUL = 24

#: Status of an empty request by (route, method), in the order of ROLES:
#: anonymous, viewer_out, operator_out, viewer_in, support, operator_in, admin.
#: 302 for a visitor is the sign-in page; out of scope is 404, a permission that lacks is 403, bad input is 422.
EXPECTED: dict[tuple[str, str], str] = {
    ("core:healthz", "GET"): "200 200 200 200 200 200 200",
    ("core:bar", "GET"): "302 200 200 200 200 200 200",
    ("core:palette", "GET"): "302 200 200 200 200 200 200",
    ("core:save_view", "POST"): "302 404 404 404 404 404 404",
    ("core:delete_view", "POST"): "302 404 404 404 404 404 404",
    ("fleet:overview", "GET"): "302 200 200 200 200 200 200",
    ("fleet:instances", "GET"): "302 200 200 200 200 200 200",
    ("fleet:instance", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_live", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_charts", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_metrics", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_changes", "GET"): "302 404 404 200 200 200 200",
    ("fleet:tenant_charts", "GET"): "302 404 404 200 200 200 200",
    ("fleet:tenant_metrics", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_log_page", "GET"): "302 403 404 403 200 200 200",
    ("fleet:instance_logs", "GET"): "302 403 404 403 200 200 200",
    ("fleet:instance_operations", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_timeline", "GET"): "302 404 404 200 200 200 200",
    ("fleet:instance_diagnostics", "GET"): "302 403 404 403 403 200 200",
    ("fleet:diagnostics", "GET"): "302 403 404 403 403 200 200",
    ("fleet:cells", "GET"): "302 200 200 200 200 200 200",
    ("fleet:cell", "GET"): "302 404 404 200 200 200 200",
    ("fleet:certificates", "GET"): "302 200 200 200 200 200 200",
    ("fleet:new_renewal", "GET"): "302 403 200 403 403 200 200",
    ("fleet:new_renewal", "POST"): "302 403 422 403 403 422 422",
    ("fleet:renewal", "GET"): "302 404 404 403 403 200 200",
    ("fleet:renewal", "POST"): "302 404 404 403 403 422 422",
    ("fleet:new_issuer", "GET"): "302 403 200 403 403 200 200",
    ("fleet:new_issuer", "POST"): "302 403 422 403 403 422 422",
    ("fleet:issuer", "GET"): "302 404 404 403 403 200 200",
    ("fleet:issuer", "POST"): "302 404 404 403 403 422 422",
    ("fleet:test_issuer", "POST"): "302 404 404 403 403 422 422",
    ("tenants:list", "GET"): "302 200 200 200 200 200 200",
    ("tenants:lookup", "GET"): "302 200 200 200 200 200 200",
    ("tenants:tenant", "GET"): "302 404 404 200 200 200 200",
    ("tenants:timeline", "GET"): "302 404 404 200 200 200 200",
    ("tenants:access", "GET"): "302 404 404 403 403 403 200",
    ("accounts:list", "GET"): "302 200 200 200 200 200 200",
    ("accounts:account", "GET"): "302 404 404 200 200 200 200",
    ("accounts:timeline", "GET"): "302 404 404 200 200 200 200",
    ("operations:list", "GET"): "302 200 200 200 200 200 200",
    ("operations:operation", "GET"): "302 404 404 200 200 200 200",
    ("operations:approve", "POST"): "302 404 404 403 403 403 302",
    ("operations:cancel", "POST"): "302 404 404 403 403 422 422",
    ("operations:act", "GET"): "302 404 404 403 403 200 200",
    ("operations:act", "POST"): "302 404 404 422 422 422 422",
    ("operations:bulk", "POST"): "302 422 422 422 422 422 422",
    ("operations:batch", "GET"): "302 404 404 200 200 200 200",
    ("operations:approve_batch", "POST"): "302 404 404 422 422 422 302",
    ("operations:cancel_batch", "POST"): "302 404 404 422 422 422 422",
    ("operations:schedules", "GET"): "302 200 200 200 200 200 200",
    ("operations:new_schedule", "GET"): "302 200 200 200 200 200 200",
    ("operations:new_schedule", "POST"): "302 422 422 422 422 422 422",
    ("operations:schedule", "GET"): "302 404 404 404 403 404 200",
    ("operations:schedule", "POST"): "302 404 404 404 403 404 422",
    ("operations:switch_schedule", "POST"): "302 404 404 404 403 404 302",
    ("operations:delete_schedule", "POST"): "302 404 404 404 403 404 302",
    ("operations:approval_rules", "GET"): "302 403 403 403 200 403 200",
    ("operations:end_rule", "POST"): "302 404 404 404 403 404 422",
    ("operations:decide_rule_change", "POST"): "302 404 404 404 422 404 422",
    ("releases:list", "GET"): "302 200 200 200 200 200 200",
    ("releases:new", "GET"): "302 403 200 403 403 200 200",
    ("releases:new", "POST"): "302 403 422 403 403 422 422",
    ("releases:compare", "GET"): "302 200 200 200 200 200 200",
    ("releases:release", "GET"): "302 200 200 200 200 200 200",
    ("releases:move", "POST"): "302 403 403 403 403 403 422",
    ("releases:upload_sbom", "POST"): "302 403 403 403 403 403 422",
    ("releases:add_artifact", "POST"): "302 403 403 403 403 403 422",
    ("releases:rollouts", "GET"): "302 200 200 200 200 200 200",
    ("releases:new_rollout", "GET"): "302 403 200 403 403 200 200",
    ("releases:new_rollout", "POST"): "302 403 422 403 403 422 422",
    ("releases:rollout", "GET"): "302 404 404 200 200 200 200",
    ("releases:steer", "POST"): "302 403 404 403 403 422 422",
    ("releases:report", "GET"): "302 404 404 200 200 200 200",
    ("releases:schedule", "POST"): "302 403 404 403 403 422 422",
    ("releases:take_in", "POST"): "302 403 404 403 403 422 422",
    ("releases:roll_back_wave", "POST"): "302 403 404 403 403 422 422",
    ("releases:retarget", "POST"): "302 403 404 403 403 422 422",
    ("releases:new_hot_patch", "GET"): "302 403 200 403 403 200 200",
    ("releases:new_hot_patch", "POST"): "302 403 422 403 403 422 422",
    ("releases:extend_hot_patch", "POST"): "302 403 404 403 403 422 422",
    ("releases:calendar", "GET"): "302 200 200 200 200 200 200",
    ("releases:add_window", "POST"): "302 403 422 403 403 422 422",
    ("releases:end_window", "POST"): "302 403 404 403 403 422 422",
    ("releases:agree_window", "POST"): "302 403 404 403 403 403 302",
    ("releases:steer_target", "POST"): "302 403 404 403 403 422 422",
    ("releases:advisories", "GET"): "302 200 200 200 200 200 200",
    ("releases:import_advisory", "GET"): "302 403 200 403 403 200 200",
    ("releases:import_advisory", "POST"): "302 403 422 403 403 422 422",
    ("releases:advisory", "GET"): "302 200 200 200 200 200 200",
    ("releases:burn_down", "GET"): "302 200 200 200 200 200 200",
    ("releases:vex", "POST"): "302 403 403 403 403 403 422",
    ("releases:rules", "GET"): "302 200 200 200 200 200 200",
    ("releases:rings", "GET"): "302 200 200 200 200 200 200",
    ("releases:save_ring", "POST"): "302 403 422 403 403 422 422",
    ("releases:put_in_ring", "POST"): "302 403 422 403 403 422 422",
    ("releases:remove_ring", "POST"): "302 403 403 403 403 403 422",
    ("releases:add_hold", "POST"): "302 403 422 403 403 422 422",
    ("releases:end_hold", "POST"): "302 403 404 403 403 422 422",
    ("releases:add_freeze", "POST"): "302 403 422 403 403 422 422",
    ("releases:end_freeze", "POST"): "302 403 404 403 403 422 422",
    ("releases:set_source", "POST"): "302 403 422 403 403 422 422",
    ("releases:set_hours", "POST"): "302 403 422 403 403 422 422",
    ("releases:add_step", "POST"): "302 403 422 403 403 422 422",
    ("releases:remove_step", "POST"): "302 403 403 403 403 403 422",
    ("releases:notices", "GET"): "302 200 200 200 200 200 200",
    ("releases:notice", "GET"): "302 404 404 200 200 200 200",
    ("releases:notice_told", "POST"): "302 403 404 403 403 403 422",
    ("releases:draft_notices", "POST"): "302 403 404 403 403 422 422",
    ("releases:send_notices", "POST"): "302 403 404 403 403 422 422",
    ("releases:set_policy", "POST"): "302 403 422 403 403 422 422",
    ("releases:approve_policy", "POST"): "302 403 403 403 403 403 422",
    ("alerts:alertmanager", "POST"): "401 401 401 401 401 401 401",
    ("alerts:webhook", "POST"): "401 401 401 401 401 401 401",
    ("alerts:heartbeat", "GET"): "200 200 200 200 200 200 200",
    ("alerts:heartbeat", "POST"): "200 200 200 200 200 200 200",
    ("alerts:http_sd", "GET"): "401 401 401 401 401 401 401",
    ("alerts:alerts", "GET"): "302 200 200 200 200 200 200",
    ("alerts:incidents", "GET"): "302 200 200 200 200 200 200",
    ("alerts:incident", "GET"): "302 404 404 200 200 200 200",
    ("alerts:acknowledge", "POST"): "302 404 404 403 403 302 422",
    ("alerts:command", "POST"): "302 404 404 403 403 302 302",
    ("alerts:resolve", "POST"): "302 404 404 403 403 422 422",
    ("alerts:note", "POST"): "302 404 404 403 403 422 422",
    ("alerts:new_notice", "GET"): "302 403 404 403 403 200 200",
    ("alerts:new_notice", "POST"): "302 403 404 403 403 422 422",
    ("alerts:notice", "GET"): "302 404 404 200 200 200 200",
    ("alerts:runbook_schedules", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_runbook_schedule", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_runbook_schedule", "POST"): "302 403 422 403 403 422 422",
    ("alerts:runbook_schedule", "GET"): "302 403 404 403 403 200 200",
    ("alerts:runbook_schedule", "POST"): "302 403 404 403 403 422 422",
    ("alerts:switch_runbook_schedule", "POST"): "302 404 404 403 403 302 302",
    ("alerts:postmortem", "GET"): "302 404 404 200 200 200 200",
    ("alerts:silences", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_silence", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_silence", "POST"): "302 403 422 403 403 422 422",
    ("alerts:end_silence", "POST"): "302 404 404 403 403 302 422",
    ("alerts:on_call", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_schedule", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_schedule", "POST"): "302 403 403 403 403 403 422",
    ("alerts:schedule", "GET"): "302 403 403 403 403 403 200",
    ("alerts:schedule", "POST"): "302 403 403 403 403 403 422",
    ("alerts:overrides", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_override", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_override", "POST"): "302 403 422 403 403 422 422",
    ("alerts:end_override", "POST"): "302 403 403 403 403 403 302",
    ("alerts:new_escalation", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_escalation", "POST"): "302 403 403 403 403 403 422",
    ("alerts:escalation", "GET"): "302 403 403 403 403 403 200",
    ("alerts:escalation", "POST"): "302 403 403 403 403 403 422",
    ("alerts:channels", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_channel", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_channel", "POST"): "302 403 422 403 403 422 422",
    ("alerts:channel", "GET"): "302 403 404 403 403 404 200",
    ("alerts:channel", "POST"): "302 403 404 403 403 404 422",
    ("alerts:test_channel", "POST"): "302 403 404 403 403 404 302",
    ("alerts:sources", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_source", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_source", "POST"): "302 403 403 403 403 403 422",
    ("alerts:new_telemetry", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_telemetry", "POST"): "302 403 403 403 403 403 422",
    ("alerts:telemetry", "GET"): "302 403 403 403 403 403 200",
    ("alerts:telemetry", "POST"): "302 403 403 403 403 403 422",
    ("alerts:try_telemetry", "POST"): "302 403 403 403 403 403 200",
    ("alerts:new_heartbeat", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_heartbeat", "POST"): "302 403 403 403 403 403 422",
    ("alerts:rules", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_rule", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_rule", "POST"): "302 403 422 403 403 422 422",
    ("alerts:rule", "GET"): "302 403 404 403 403 200 200",
    ("alerts:rule", "POST"): "302 403 404 403 403 422 422",
    ("alerts:runbooks", "GET"): "302 200 200 200 200 200 200",
    ("alerts:new_runbook", "GET"): "302 403 403 403 403 403 200",
    ("alerts:new_runbook", "POST"): "302 403 403 403 403 403 422",
    ("alerts:runbook", "GET"): "302 200 200 200 200 200 200",
    ("alerts:edit_runbook", "GET"): "302 403 403 403 403 403 200",
    ("alerts:edit_runbook", "POST"): "302 403 403 403 403 403 422",
    ("alerts:switch_runbook", "POST"): "302 403 403 403 403 403 302",
    ("alerts:run_runbook", "POST"): "302 422 422 422 422 422 422",
    ("alerts:run", "GET"): "302 404 404 200 200 200 200",
    ("alerts:cancel_run", "POST"): "302 404 404 403 403 302 422",
    ("alerts:approve_recovery", "POST"): "302 404 404 403 403 403 302",
    ("alerts:recoveries", "GET"): "302 200 200 200 200 200 200",
    ("alerts:recovery", "GET"): "302 404 404 200 200 200 200",
    ("alerts:new_recovery", "GET"): "302 403 200 403 403 200 200",
    ("alerts:new_recovery", "POST"): "302 403 422 403 403 422 422",
    ("alerts:edit_recovery", "GET"): "302 403 404 403 403 200 200",
    ("alerts:edit_recovery", "POST"): "302 403 404 403 403 422 422",
    ("alerts:switch_recovery", "POST"): "302 404 404 403 403 302 302",
    ("alerts:close_breaker", "POST"): "302 404 404 403 403 422 422",
    ("cost:overview", "GET"): "302 403 403 403 403 403 200",
    ("cost:breakdown", "GET"): "302 403 403 403 403 403 200",
    ("cost:lines", "GET"): "302 403 403 403 403 403 200",
    ("cost:tenant", "GET"): "302 403 403 403 403 403 200",
    ("cost:unallocated", "GET"): "302 403 403 403 403 403 200",
    ("cost:heavy", "GET"): "302 403 403 403 403 403 200",
    ("cost:margins", "GET"): "302 403 403 403 403 403 200",
    ("cost:lab", "GET"): "302 403 403 403 403 403 200",
    ("cost:units", "GET"): "302 403 403 403 403 403 200",
    ("cost:months", "GET"): "302 403 403 403 403 403 200",
    ("cost:cohorts", "GET"): "302 403 403 403 403 403 200",
    ("cost:idle", "GET"): "302 403 403 403 403 403 200",
    ("cost:placing", "GET"): "302 403 403 403 403 403 200",
    ("cost:move", "GET"): "302 403 403 403 403 403 200",
    ("cost:rules", "GET"): "302 403 403 403 403 403 200",
    ("cost:add_rule", "POST"): "302 403 403 403 403 403 422",
    ("cost:activate", "POST"): "302 403 403 403 403 403 422",
    ("cost:remove_rule", "POST"): "302 403 403 403 403 403 302",
    ("cost:discard_draft", "POST"): "302 403 403 403 403 403 302",
    ("cost:bills", "GET"): "302 403 403 403 403 403 200",
    ("cost:upload", "GET"): "302 403 403 403 403 403 200",
    ("cost:upload", "POST"): "302 403 403 403 403 403 422",
    ("cost:bill", "GET"): "302 403 403 403 403 403 200",
    ("cost:retry", "POST"): "302 403 403 403 403 403 302",
    ("cost:focus", "GET"): "302 403 403 403 403 403 404",
    ("cost:anomalies", "GET"): "302 403 403 403 403 403 200",
    ("cost:usage", "GET"): "302 403 403 403 403 403 200",
    ("cost:revenue", "GET"): "302 403 403 403 403 403 200",
    ("cost:bring", "POST"): "302 403 403 403 403 403 422",
    ("cost:ledger", "GET"): "302 403 403 403 403 403 200",
    ("cost:add_entry", "POST"): "302 403 403 403 403 403 422",
    ("cost:remove_entry", "POST"): "302 403 403 403 403 403 302",
    ("access:people", "GET"): "302 403 403 403 403 403 200",
    ("access:person", "GET"): "302 403 403 403 403 403 200",
    ("access:give", "POST"): "302 403 403 403 403 403 422",
    ("access:take", "POST"): "302 403 403 403 403 403 302",
    ("access:roles", "GET"): "302 403 403 403 403 403 200",
    ("access:new_role", "GET"): "302 403 403 403 403 403 200",
    ("access:new_role", "POST"): "302 403 403 403 403 403 422",
    ("access:role", "GET"): "302 403 403 403 403 403 200",
    ("access:role", "POST"): "302 403 403 403 403 403 422",
    ("access:delete_role", "POST"): "302 403 403 403 403 403 302",
    ("access:groups", "GET"): "302 403 403 403 403 403 200",
    ("access:new_group", "POST"): "302 403 403 403 403 403 422",
    ("access:group", "GET"): "302 403 403 403 403 403 200",
    ("access:give_to_group", "POST"): "302 403 403 403 403 403 422",
    ("access:put_in_group", "POST"): "302 403 403 403 403 403 422",
    ("access:take_out_of_group", "POST"): "302 403 403 403 403 403 302",
    ("access:mine", "GET"): "302 200 200 200 200 200 200",
    ("access:requests", "GET"): "302 200 200 200 200 200 200",
    ("access:ask", "GET"): "302 200 200 200 200 200 200",
    ("access:ask", "POST"): "302 422 422 422 422 422 422",
    ("access:request", "GET"): "302 404 404 200 404 404 200",
    ("access:decide", "POST"): "302 404 404 422 404 404 422",
    ("access:withdraw", "POST"): "302 404 404 404 404 404 302",
    ("access:give_back", "POST"): "302 404 404 404 404 404 302",
    ("access:extend", "POST"): "302 404 404 404 404 404 422",
    ("access:pre_approvals", "GET"): "302 403 403 403 403 403 200",
    ("access:new_pre_approval", "POST"): "302 403 403 403 403 403 422",
    ("access:delete_pre_approval", "POST"): "302 403 403 403 403 403 302",
    ("access:broken", "GET"): "302 200 200 200 200 200 200",
    ("access:break_glass", "GET"): "302 403 403 403 403 403 302",
    ("access:break_glass", "POST"): "302 403 403 403 403 403 302",
    ("access:glass", "GET"): "302 404 404 404 404 404 200",
    ("access:end_glass", "POST"): "302 404 404 404 404 404 302",
    ("access:explain_glass", "POST"): "302 404 404 404 404 404 403",
    ("access:review_glass", "POST"): "302 404 404 404 404 404 422",
    ("access:sso_groups", "GET"): "302 403 403 403 403 403 200",
    ("access:scim", "GET"): "302 403 403 403 403 403 200",
    ("access:map_group", "POST"): "302 403 403 403 403 403 422",
    ("access:unmap_group", "POST"): "302 403 403 403 403 403 302",
    ("access:reviews", "GET"): "302 403 403 403 403 403 200",
    ("access:start_review", "POST"): "302 403 403 403 403 403 422",
    ("access:review", "GET"): "302 403 403 403 403 403 200",
    ("access:close_review", "POST"): "302 403 403 403 403 403 302",
    ("access:review_evidence", "GET"): "302 403 403 403 403 403 200",
    ("access:decide_review", "POST"): "302 403 403 403 403 403 302",
    ("access:tokens", "GET"): "302 200 200 200 200 200 200",
    ("access:new_token", "POST"): "302 422 422 422 422 422 422",
    ("access:revoke_token", "POST"): "302 404 404 404 404 404 302",
    # A session says nothing there: tests/access/test_tokens.py comes with tokens.
    ("api:instances", "GET"): "401 401 401 401 401 401 401",
    ("api:tenants", "GET"): "401 401 401 401 401 401 401",
    ("api:operations", "GET"): "401 401 401 401 401 401 401",
    ("api:operations", "POST"): "401 401 401 401 401 401 401",
    ("releases_api:releases", "GET"): "401 401 401 401 401 401 401",
    ("releases_api:releases", "POST"): "401 401 401 401 401 401 401",
    ("releases_api:sbom", "POST"): "401 401 401 401 401 401 401",
    ("releases_api:rings", "GET"): "401 401 401 401 401 401 401",
    ("releases_api:advisories", "GET"): "401 401 401 401 401 401 401",
    ("releases_api:advisories", "POST"): "401 401 401 401 401 401 401",
    # tests/access/scim comes with tokens.
    ("scim:config", "GET"): "401 401 401 401 401 401 401",
    ("scim:types", "GET"): "401 401 401 401 401 401 401",
    ("scim:type", "GET"): "401 401 401 401 401 401 401",
    ("scim:schemas", "GET"): "401 401 401 401 401 401 401",
    ("scim:schema", "GET"): "401 401 401 401 401 401 401",
    ("scim:users", "GET"): "401 401 401 401 401 401 401",
    ("scim:users", "POST"): "401 401 401 401 401 401 401",
    ("scim:user", "GET"): "401 401 401 401 401 401 401",
    ("scim:user", "PUT"): "401 401 401 401 401 401 401",
    ("scim:user", "PATCH"): "401 401 401 401 401 401 401",
    ("scim:user", "DELETE"): "401 401 401 401 401 401 401",
    ("scim:groups", "GET"): "401 401 401 401 401 401 401",
    ("scim:groups", "POST"): "401 401 401 401 401 401 401",
    ("scim:group", "GET"): "401 401 401 401 401 401 401",
    ("scim:group", "PUT"): "401 401 401 401 401 401 401",
    ("scim:group", "PATCH"): "401 401 401 401 401 401 401",
    ("scim:group", "DELETE"): "401 401 401 401 401 401 401",
    ("access:sessions", "GET"): "302 200 200 200 200 200 200",
    ("access:end_session", "POST"): "302 404 404 404 404 404 404",
    ("access:end_sessions", "POST"): "302 403 403 403 403 403 302",
    ("access:why", "GET"): "302 403 403 403 403 403 200",
    ("access:signin_link", "GET"): "302 302 302 302 302 302 302",
    ("access:signin_link", "POST"): "302 302 302 302 302 302 302",
    ("audit:list", "GET"): "302 403 403 403 403 403 200",
    ("audit:entry", "GET"): "302 403 403 403 403 403 200",
    ("audit:seals", "GET"): "302 403 403 403 403 403 200",
    ("audit:streams", "GET"): "302 403 403 403 403 403 200",
    ("audit:retry_streams", "POST"): "302 403 403 403 403 403 302",
    ("audit:checkpoint", "GET"): "302 403 403 403 403 403 200",
}

#: Lists that export themselves as CSV. Viewers may not; who may gets the rows of their own scope.
LISTS = (
    "fleet:instances",
    "fleet:cells",
    "tenants:list",
    "accounts:list",
    "operations:list",
    "releases:list",
    "releases:rollouts",
    "releases:advisories",
    "releases:notices",
    "fleet:certificates",
    "alerts:rules",
    "alerts:runbooks",
    "alerts:alerts",
    "alerts:incidents",
    "cost:breakdown",
    "cost:unallocated",
    "cost:heavy",
    "cost:margins",
    "cost:lab",
    "cost:units",
    "cost:months",
    "cost:cohorts",
    "cost:idle",
    "cost:placing",
    "cost:move",
    "cost:bills",
    "cost:anomalies",
    "access:people",
    "access:requests",
    "audit:list",
    "audit:seals",
    "audit:streams",
)


def url(route: Route, world: World) -> str:
    return reverse(route.name, kwargs=world.arguments(route.name) if "<" in route.path else {})


def by_method(method: str) -> list[Route]:
    return [route for route in ours() if method in route.methods]


def knock(world: World, role: str, route: Route, method: str, data: Any = None, **headers: str) -> Any:
    client = world.client(role)
    if method not in ("GET", "POST"):  # for programs alone, which send JSON
        return client.generic(method, url(route, world), headers=headers)
    send = client.get if method == "GET" else client.post
    return send(url(route, world), data or {}, headers=headers)


def text_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode(errors="replace"))


def state_of_the_world() -> list[Any]:
    """Everything that a request could have changed. That somebody signed in or was refused is told, and changes nothing."""
    told = (EventKind.DENIED, EventKind.SIGN_IN)
    return [
        AuditEntry.objects.exclude(event__in=told).aggregate(Max("pk")),
        Event.objects.aggregate(Max("pk")),
        list(Operation.objects.order_by("pk").values_list("pk", "state", "cancel_requested_by")),
        list(Schedule.objects.order_by("pk").values_list("pk", "name", "is_enabled")),
        list(Grant.objects.order_by("pk").values_list("pk", "until")),
        list(AccessRequest.objects.order_by("pk").values_list("pk", "state")),
        list(SavedView.objects.order_by("pk").values_list("pk", flat=True)),
        Batch.objects.count(),
        list(Incident.objects.order_by("pk").values_list("pk", "state", "commander")),
        list(Silence.objects.order_by("pk").values_list("pk", "ends_at")),
        list(RecoveryPolicy.objects.order_by("pk").values_list("pk", "is_enabled", "cooldown")),
        [
            m.objects.count()
            for m in (Source, Heartbeat, Channel, OnCallSchedule, EscalationPolicy, AlertPage)
        ],
        list(Bill.objects.order_by("pk").values_list("pk", "state")),
        list(RuleSet.objects.order_by("pk").values_list("pk", "state")),
        list(Rule.objects.order_by("pk").values_list("pk", "position")),
    ]


@contextmanager
def taken_back() -> Iterator[None]:
    """What is done inside is undone, as after a test: many addresses are tried in one world, which is dear to make."""
    block = transaction.atomic()
    block._from_testcase = True  # services that insist on the outermost transaction have it, as in any test
    with block:
        yield
        transaction.set_rollback(True)
    access_services._system.clear()
    REFUSALS.forget()
    cache.clear()


Case = TypeVar("Case")


def some(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases in handfuls: each handful shares a world."""
    found = list(cases)
    return [found[start : start + HANDFUL] for start in range(0, len(found), HANDFUL)]


def first_of(cases: Any) -> str:
    """What a handful is called: by its first address."""
    case = cases[0][0] if isinstance(cases[0], tuple) else cases[0]
    return f"{case.name}-and-on"


def tried(cases: Iterable[Case], check: Callable[[World, Case], None]) -> None:
    """Try each case in one world; the failures of all are told, each with its address."""
    world, failed = World(), []
    for case in cases:
        with taken_back():
            try:
                check(world, case)
            except AssertionError as error:
                failed.append(f"{case}: {error}")
    assert not failed, "\n\n".join(failed)


def test_the_table_has_a_row_for_each_address_and_none_too_many() -> None:
    assert set(EXPECTED) == {(route.name, method) for route in ours() for method in route.methods}


@pytest.mark.parametrize(
    "cases", some((route, method) for route in ours() for method in route.methods), ids=first_of
)
def test_each_role_gets_what_the_table_says(cases: list[tuple[Route, str]]) -> None:
    tried(cases, gets_what_the_table_says)


def gets_what_the_table_says(world: World, case: tuple[Route, str]) -> None:
    route, method = case
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, method].split()), strict=True))
    before = state_of_the_world()
    for role in ROLES:
        response = knock(world, role, route, method)
        assert response.status_code == expected[role], f"{role}: {text_of(response)[:300]}"
        if expected[role] in (401, 403, 404) or role == "anonymous":
            assert state_of_the_world() == before, f"{role} was refused and changed something"
        if role.endswith("_out"):
            shown = text_of(response)
            assert not [word for word in ("instance-here", "tenant-here", "cell-here") if word in shown], role


@pytest.mark.parametrize("routes", some(by_method("GET")), ids=first_of)
def test_live_parts_ask_as_pages_do(routes: list[Route]) -> None:
    """The same answers to HTMX; a visitor gets 401 rather than a sign-in page inside a page."""
    tried(routes, asks_as_a_page_does)


def asks_as_a_page_does(world: World, route: Route) -> None:
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, "GET"].split()), strict=True))
    for role in ROLES:
        response = knock(world, role, route, "GET", **{"HX-Request": "true"})
        if role == "anonymous" and not route.permission.startswith("public: "):
            assert response.status_code == 401
        else:
            assert response.status_code in (expected[role], 204, 286), role
        if role.endswith("_out"):
            assert "instance-here" not in text_of(response), role


@pytest.mark.parametrize("routes", some(by_method("GET")), ids=first_of)
def test_exports_ask_as_pages_do(routes: list[Route]) -> None:
    tried(routes, exports_as_a_page_does)


def exports_as_a_page_does(world: World, route: Route) -> None:
    expected = dict(zip(ROLES, map(int, EXPECTED[route.name, "GET"].split()), strict=True))
    for role in ROLES:
        response = knock(world, role, route, "GET", {"_export": "csv"})
        is_csv = response.headers.get("Content-Type", "").startswith("text/csv")
        assert is_csv == (route.name in LISTS and response.status_code == 200), role
        if route.name in LISTS and role.startswith("viewer") and expected[role] == 200:
            assert response.status_code == 403, "viewers may not export"
        else:
            assert response.status_code == expected[role], role
        if role.endswith("_out"):
            assert not [
                word for word in ("instance-here", "tenant-here", "cell-here") if word in text_of(response)
            ], role


#: Addresses for programs answer 401 before anything else; tests/releases/test_api.py asks them with a token.
PROGRAMS = ("api/", "scim/")
NUMBERED = [r for r in ours() if "<" in r.path and not r.path.startswith(PROGRAMS)]


@pytest.mark.parametrize("routes", some(NUMBERED), ids=first_of)
def test_what_does_not_exist_is_404_even_for_who_may_everything(routes: list[Route]) -> None:
    tried(routes, is_404_where_there_is_nothing)


def is_404_where_there_is_nothing(world: World, route: Route) -> None:
    arguments = missing(route.name, world.arguments(route.name))
    for method in route.methods:
        client = world.client("admin")
        send = client.get if method == "GET" else client.post
        assert send(reverse(route.name, kwargs=arguments)).status_code == 404


#: What is public or signed in reads only, by whatever method.
GUARDED = [r for r in ours() if not r.permission.startswith(("public: ", "signed in: "))]


@pytest.mark.parametrize("routes", some(GUARDED), ids=first_of)
def test_other_methods_are_refused(routes: list[Route]) -> None:
    tried(routes, refuses_other_methods)


def refuses_other_methods(world: World, route: Route) -> None:
    before = state_of_the_world()
    for method in set(METHODS) - set(route.methods):
        response = world.client("admin").generic(method, url(route, world))
        assert response.status_code == 405, method
    assert state_of_the_world() == before


def good_data(world: World) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """By route that changes something: a request that says all it must, and who gets through with it."""
    reason = {"reason": "asked for in ticket 7"}
    restart = previews.find_action(world.root, "restart", world.instance.pk, permission=True)[0]
    digest = previews.preview(restart, [world.instance.pk], QueryDict(), world.root).digest
    schedule = {
        "name": "weekly",
        "kind": "restart",
        "target": "instance-here",
        "cron": "0 4 * * 1",
        "zone": "UTC",
        **reason,
    }
    bulk = {
        "kind": "restart",
        "target_type": "instance",
        "selected": [world.instance.pk],
        "frozen": previews.freeze([world.instance.pk]),
        "confirmed": "1",
        "previewed": digest,
        **reason,
    }
    grant = {"role": factories.make_role("viewer").pk, "kind": "tenant", "name": "tenant-here", **reason}
    operators, admins = {"operator_in", "admin"}, {"admin"}
    silence = {"place": "instance-here", "minutes": "60", **reason}
    labels = {"instance_label": "daytwo_instance", "tenant_label": "tenant"}
    by_clock = {
        "name": "nightly", "runbook": world.runbook.pk, "on": "instance-here", "cron": "0 4 * * *", "zone": "UTC",
        **reason,
    }  # fmt: skip
    turns = {
        "name": "first line",
        "order": "admin",
        "days": "7",
        "handover": "09:00",
        "zone": "UTC",
        "starts_on": "2026-01-05",
    }
    rule = {
        "name": "errors", "kind": "threshold", "metric": "errors", "direction": "over", "threshold": "5", "window": "300",
        "objective": "99.9", "least_requests": "20", "severity": "warning", "place": "cell-here", "is_enabled": "on",
    }  # fmt: skip
    override = {
        "schedule": world.on_call.pk,
        "person": "root",
        "starts_at": "2098-01-01T09:00",
        "ends_at": "2098-01-02T09:00",
        **reason,
    }
    steps = {f"wait_{n}": "300" for n in range(1, 5)} | {"target_1": f"schedule:{world.on_call.pk}"}
    escalation = {
        "name": "tell them",
        "rank": "1",
        "min_severity": "warning",
        "repeats": "1",
        "zone": "UTC",
        **steps,
    }
    channel = {"name": "by json", "rank": "1", "address": "json://127.0.0.1:9/x"}
    recovery = {
        "name": "restart it", "alert_name": "InstanceFailing", "min_severity": "warning", "remedy": "restart", "rank": "9",
        "delay": "0", "cooldown": "61", "tries": "3", "per_cell": "5", "per_fleet": "20", "zone": "UTC", "grace": "20",
        "breaker_after": "3", "place": "cell-here",
    }  # fmt: skip
    return {
        "core:save_view": ({"page": "fleet:instances", "name": "x"}, set(ROLES) - {"anonymous"}),
        "core:delete_view": ({}, set()),  # another's
        "operations:approve": ({}, admins),
        "operations:cancel": (reason, operators),
        "operations:act": ({"previewed": digest, **reason}, operators),
        "operations:bulk": (bulk, operators),
        "operations:approve_batch": ({}, admins),
        "operations:cancel_batch": (reason, operators),
        "operations:new_schedule": (schedule, operators),
        "operations:schedule": (schedule, admins),
        "operations:switch_schedule": ({"on": "0"}, admins),
        "operations:delete_schedule": ({}, admins),
        "operations:end_rule": ({"order": "delete", **reason}, admins),
        "operations:decide_rule_change": ({"answer": "yes"}, admins),
        **_of_releases(world, reason),
        "fleet:new_renewal": ({"place": "", "share": "67", "at_once": "2", "is_enabled": "on"}, admins),
        "fleet:renewal": ({"share": "50", "at_once": "2"}, operators),
        "fleet:new_issuer": (
            {
                "name": "another",
                "kind": "acme",
                "directory_url": "https://ca.example/dir",
                "domain": "a.test",
                "place": "",
                "is_enabled": "on",
            },
            admins,
        ),
        "fleet:issuer": ({"directory_url": "https://127.0.0.1:9/dir", "domain": "other.test"}, operators),
        "fleet:test_issuer": ({}, set()),  # asks a directory that is not there: tests/fleet/test_acme.py
        "alerts:alertmanager": ({}, set()),  # by token, see tests/alerts
        "alerts:webhook": ({}, set()),
        "alerts:heartbeat": ({}, set()),
        "alerts:acknowledge": ({}, operators),
        "alerts:command": ({}, operators),
        "alerts:resolve": (reason, set()),  # it still goes on
        "alerts:note": ({"text": "the disk is full"}, operators),
        "alerts:new_silence": (silence, operators),
        "alerts:end_silence": ({}, operators),
        "alerts:new_schedule": (turns, admins),
        "alerts:schedule": (turns, admins),
        "alerts:new_override": (override, admins),
        "alerts:end_override": ({}, admins),
        "alerts:new_escalation": (escalation, admins),
        "alerts:escalation": (escalation, admins),
        "alerts:new_channel": (channel, operators | {"operator_out"}),
        "alerts:channel": (channel, admins),
        "alerts:test_channel": ({}, admins),
        "alerts:new_source": ({"name": "prometheus", "kind": "alertmanager"}, admins),
        "alerts:new_heartbeat": (
            {"name": "backup", "every": "60", "grace": "30", "severity": "critical"},
            admins,
        ),
        "alerts:new_rule": ({**rule, "name": "slow"}, operators),
        "alerts:rule": ({**rule, "window": "600"}, operators),
        "alerts:new_runbook": ({"text": RUNBOOK.replace("one-step", "another"), "note": "x"}, admins),
        "alerts:edit_runbook": ({"text": RUNBOOK.replace("Restart", "Boot"), "note": "x"}, admins),
        "alerts:switch_runbook": ({"on": "0"}, admins),
        "alerts:run_runbook": ({"instance": "instance-two", "key": "k", **reason}, operators),
        "alerts:cancel_run": ({}, operators),
        "alerts:new_notice": (
            {"stage": "resolved", "subject": "It is over", "body": "It is over."},
            operators,
        ),
        "alerts:new_telemetry": ({"name": "more", "loki_url": "http://127.0.0.1:9", **labels}, admins),
        "alerts:telemetry": ({"name": "renamed", "prometheus_url": "http://127.0.0.1:9", **labels}, admins),
        "alerts:try_telemetry": ({}, set()),  # it asks, and changes nothing
        "alerts:new_runbook_schedule": (by_clock, operators),
        "alerts:runbook_schedule": (by_clock, operators),
        "alerts:switch_runbook_schedule": ({"on": "0"}, operators),
        "alerts:approve_recovery": ({"yes": "1"}, admins),
        "alerts:new_recovery": (recovery, operators),
        "alerts:edit_recovery": (recovery, operators),
        "alerts:switch_recovery": ({"on": "0"}, operators),
        "alerts:close_breaker": ({}, set()),  # it is closed
        "cost:add_rule": ({"kind": "overhead"}, admins),
        "cost:remove_rule": ({}, admins),
        "cost:discard_draft": ({}, admins),
        "cost:activate": ({"note": "by tag"}, admins),
        "cost:upload": ({"delivery": SimpleUploadedFile("bill.csv", b"a,b\n1,2\n")}, admins),
        "cost:retry": ({}, admins),
        "cost:bring": (
            {
                "table": SimpleUploadedFile(
                    "u.csv", b"day,tenant,meter,amount\n2026-09-01,tenant-here,cpu,1\n"
                )
            },
            admins,
        ),
        "cost:add_entry": ({"currency": "CHF", "into": "EUR", "rate": "1.05", "day": "2026-09-01"}, admins),
        "cost:remove_entry": ({}, admins),
        "access:give": (grant, admins),
        "access:take": (reason, admins),
        "access:ask": (
            {**grant, "role": world.spare_role.pk, "minutes": 60},
            {"viewer_in", "support", "operator_in", "admin"},
        ),
        "access:decide": ({"answer": "yes"}, admins),
        "access:withdraw": ({}, admins),
        "access:give_back": ({}, admins),
        "access:extend": ({"minutes": 60, **reason}, admins),
        "access:new_pre_approval": (
            {"group": world.group.pk, "max_minutes": 60, **grant},
            admins,
        ),
        "access:delete_pre_approval": (reason, admins),
        "access:break_glass": ({}, set()),  # needs a second factor, which nobody here has
        "access:end_glass": ({}, admins),
        "access:explain_glass": ({}, set()),  # another's
        "access:review_glass": ({}, set()),  # it has not ended
        "access:map_group": ({"claim": "night", "group": world.group.pk, **reason}, admins),
        "access:unmap_group": (reason, admins),
        "access:start_review": ({"name": "Q1", **reason}, admins),
        "access:close_review": (reason, admins),
        "access:decide_review": ({"decision": "keep", "note": "still needed"}, admins),
        "audit:retry_streams": ({}, set()),  # none is failing: tests/audit/test_streaming.py
        "access:signin_link": ({}, set()),  # without a link: see tests/access/test_signin_link.py
        "access:new_token": (
            {"name": "ci", "permissions": ["view"], "days": 7},
            set(ROLES) - {"anonymous"},
        ),
        "access:revoke_token": ({}, admins),
        "api:operations": ({}, set()),  # a session says nothing there
        "releases_api:releases": ({}, set()),
        "releases_api:sbom": ({}, set()),
        "releases_api:advisories": ({}, set()),
        "scim:users": ({}, set()),
        "scim:groups": ({}, set()),
        "access:end_session": ({}, set()),  # another's
        "access:end_sessions": ({}, admins),
        "access:new_role": ({"name": "night", "permissions": ["view"], **reason}, admins),
        "access:role": ({"name": "spare", "permissions": ["view", "export"], **reason}, admins),
        "access:delete_role": (reason, admins),
        "access:new_group": ({"name": "night", **reason}, admins),
        "access:give_to_group": (grant, admins),
        "access:put_in_group": ({"who": "support", **reason}, admins),
        "access:take_out_of_group": ({"who": "viewer_in", **reason}, admins),
    }


def _of_releases(world: World, reason: dict[str, str]) -> dict[str, tuple[dict[str, Any], set[str]]]:
    operators, admins = {"operator_in", "admin"}, {"admin"}
    rollout = {
        "release": world.released.pk, "canary": "1", "growth": 2, "concurrency": 1, "bake_seconds": 0, "gate": "health",
        "min_requests": 1, "on_fail": "abort", **reason,
    }  # fmt: skip
    freeze = {
        "name": "x", "account": world.cell.region.account_id, "starts_at": "2026-01-01T00:00", "ends_at": "2099-01-01T00:00",
    }  # fmt: skip

    soon = {"until": f"{timezone.now() + timedelta(days=6):%Y-%m-%dT%H:%M}", **reason}

    def file(raw: bytes) -> dict[str, Any]:
        return {"document": SimpleUploadedFile("x.json", raw)}

    return {
        "releases:new": ({"version": "9.1.0", "kind": "patch", "severity": "none"}, admins),
        "releases:move": ({"to": "candidate", **reason}, admins),
        "releases:upload_sbom": (file(cyclonedx("pkg:pypi/x@1")), admins),
        "releases:add_artifact": ({"name": "x", "sha256": "0" * 64}, admins),
        "releases:new_rollout": (rollout, {"operator_out", *operators}),
        "releases:steer": ({"order": "start", **reason}, operators),
        "releases:steer_target": ({"order": "skip", **reason}, operators),
        "releases:import_advisory": (file(osv()), admins),
        "releases:vex": ({"justification": "component_not_present", **reason}, admins),
        "releases:schedule": ({"at": "2099-01-01T00:00", **reason}, operators),
        "releases:take_in": (reason, operators),
        "releases:add_window": (
            {"tenant": "tenant-here", "days": [5], "opens_at": "22:00", "minutes": 60},
            admins,
        ),
        "releases:end_window": (reason, admins),
        "releases:agree_window": ({}, admins),
        "releases:add_hold": ({"tenant": "tenant-here", "until": "2099-01-01T00:00", **reason}, admins),
        "releases:end_hold": (reason, admins),
        "releases:add_freeze": ({**freeze, **reason}, operators),
        "releases:end_freeze": (reason, admins),
        "releases:set_policy": ({"scope": "fleet", "measure": "instances", "max_count": 3, **reason}, admins),
        "releases:approve_policy": ({"percent": 60}, admins),
        "releases:save_ring": ({"name": "pilot", "rest_seconds": 0, **reason}, admins),
        "releases:put_in_ring": ({"tenant": "tenant-here", "ring": world.ring.pk, **reason}, admins),
        "releases:remove_ring": (reason, admins),
        "releases:retarget": ({"release": world.other_release.pk, **reason}, operators),
        "releases:set_source": (
            {
                "name": "prometheus",
                "label": "instance",
                "requests": metrics.REQUESTS,
                "errors": metrics.ERRORS,
                "latency": metrics.LATENCY,
                "step_seconds": 60,
                **reason,
            },
            admins,
        ),
        "releases:set_hours": ({"severity": "high", "hours": 12, **reason}, admins),
        "releases:add_step": (
            {"severity": "", "percent": 50, "name": "chief", "address": "c@example.com", **reason},
            admins,
        ),
        "releases:remove_step": (reason, admins),
        "releases:roll_back_wave": (reason, operators),
        "releases:new_hot_patch": (
            {
                "tenant": "tenant-here",
                "release": world.other_release.pk,
                "gate": "health",
                "bake_seconds": 0,
                **soon,
            },
            operators,
        ),
        "releases:extend_hot_patch": (soon, operators),
        "releases:notice_told": (reason, admins),  # of no rollout: for who may everything
        "releases:send_notices": (reason, operators),
        "releases:draft_notices": ({"subject": "x {tenant}", "body": "y", **reason}, operators),
    }


def in_earnest() -> list[Route]:
    return by_method("POST")


def test_every_address_that_changes_something_is_tried_in_earnest() -> None:
    assert set(good_data(World())) == {route.name for route in in_earnest()}


def tries(world: World, route: Route, role: str, data: dict[str, Any]) -> tuple[bool, str]:
    """Send a good request; gives whether it changed anything, and what came back."""
    before = state_of_the_world()
    response = knock(world, role, route, "POST", data)
    assert response.status_code < 500
    return state_of_the_world() != before, f"{role} {response.status_code}: {text_of(response)[:2000]}"


@pytest.mark.parametrize("routes", some(in_earnest()), ids=first_of)
def test_who_may_not_changes_nothing(routes: list[Route]) -> None:
    tried(routes, changes_nothing_for_who_may_not)


def changes_nothing_for_who_may_not(world: World, route: Route) -> None:
    data, allowed = good_data(world)[route.name]
    for role in [role for role in ROLES if role not in allowed]:
        changed, answer = tries(world, route, role, data)
        assert not changed, answer


@pytest.mark.parametrize("routes", some(in_earnest()), ids=first_of)
def test_who_may_changes_something(routes: list[Route]) -> None:
    """So that the test above is not content with a request that nobody gets through."""
    cases = [(route, role) for route in routes for role in ("operator_in", "admin")]
    tried(cases, changes_something_for_who_may)


def changes_something_for_who_may(world: World, case: tuple[Route, str]) -> None:
    route, role = case
    data, allowed = good_data(world)[route.name]
    if role in allowed:
        changed, answer = tries(world, route, role, data)
        assert changed, answer
