"""Sign-ins, failed ones, sign-outs and changed passwords, into the trail.

The house keeps signals to auditlog; these are the exception: `user_logged_in` and its neighbours are the public
interface by which django.contrib.auth and allauth tell it, and every way in (password, passkey, link, OIDC) goes
through them. All receivers are here, and `connect` is called by name from apps.py.
"""

from typing import Any

from allauth.account import signals as account_signals
from allauth.mfa import signals as mfa_signals
from django.contrib.auth import get_user_model
from django.contrib.auth import signals as auth_signals
from django.db.models import Q

from apps.access.services import system_actor

from .choices import EventKind
from .telling import REFUSALS, tell

UID = "apps.audit.signins"


def connect() -> None:
    """Called once, from apps.py."""
    for signal, receiver in (
        (auth_signals.user_logged_in, signed_in),
        (auth_signals.user_login_failed, sign_in_failed),
        (auth_signals.user_logged_out, signed_out),
        (mfa_signals.authentication_failed, second_factor_failed),
        (account_signals.password_changed, password_changed),
        (account_signals.password_set, password_changed),
        (account_signals.password_reset, password_changed),
    ):
        signal.connect(receiver, dispatch_uid=f"{UID}.{receiver.__name__}")


def signed_in(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Somebody came in, and how."""
    methods = _methods(request)
    tell(
        EventKind.SIGN_IN,
        f"{user} signed in",
        actor=user,
        about=user,
        details={"methods": methods} if methods else None,
    )


def sign_in_failed(sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    """Somebody did not come in. Only a name that exists is kept: people type passwords into the wrong field."""
    name = str(credentials.get("username") or credentials.get("email") or credentials.get("login") or "")[
        :254
    ]
    known = _person(name)
    _failed(request, known, f"as {known}" if known else "under a name that nobody has")


def second_factor_failed(sender: Any, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """The password was right, the second factor was not."""
    _failed(request, user, f"as {user}: wrong second factor")


def signed_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Somebody went, or was made to."""
    if user is not None and user.is_authenticated:
        tell(EventKind.SIGN_OUT, f"{user} signed out", actor=user, about=user)


def password_changed(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """A password was set; the column itself never enters the trail."""
    tell(EventKind.ACCESS, f"the password of {user} was changed", actor=user, about=user)


def _failed(request: Any, known: Any, how: str) -> None:
    address = getattr(request, "META", {}).get("REMOTE_ADDR", "")
    left_out = REFUSALS.take(f"sign-in {address}")
    if left_out is None:
        return
    details = {"left_out_before": left_out} if left_out else None
    tell(
        EventKind.SIGN_IN_FAILED,
        f"sign-in failed {how}",
        actor=system_actor("visitor"),
        about=known,
        details=details,
    )


def _person(name: str) -> Any:
    if not name or "\x00" in name:
        return None
    return get_user_model()._default_manager.filter(Q(username__iexact=name) | Q(email__iexact=name)).first()


def _methods(request: Any) -> list[str]:
    """By which ways, as allauth keeps them in the session: password, mfa (totp), socialaccount."""
    session = getattr(request, "session", None)
    known = session.get("account_authentication_methods", []) if session is not None else []
    return [
        " ".join(filter(None, (m.get("method"), m.get("type") or m.get("provider"))))
        for m in known
        if isinstance(m, dict)
    ]
