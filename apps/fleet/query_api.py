"""One request to a query API: bounded in time and size, and its faults in words that hold no secret."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx


class Unanswered(Exception):
    """What was asked cannot be had now; the text says why, for people, and holds no secret."""


#: Bytes that an answer may have.
MOST_BYTES = 16 * 1024 * 1024


def check_web(url: str) -> str:
    """The address without a last slash. Raises ValueError for what is no plain http(s) address."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("This is no address.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("Give an address that begins with http:// or https:// and names a host.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("Give no password in the address: there is a field for the token.")
    if parts.query or parts.fragment:
        raise ValueError("Give the address alone, with nothing after ? or #.")
    return url


def ask(
    who: str, url: str, data: Mapping[str, Any], *, token: str = "", org_id: str = "", method: str = "POST", seconds: float = 5
) -> dict[str, Any]:  # fmt: skip
    """The `data` of a successful answer of `who`, as both APIs give it. Raises Unanswered. No redirect is followed."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if org_id:
        headers["X-Scope-OrgID"] = org_id
    sent: dict[str, Any] = {"data": data} if method == "POST" else {"params": data}
    try:
        with httpx.stream(method, url, headers=headers, timeout=seconds, **sent) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise Unanswered(f"{who} answered with over {MOST_BYTES // 2**20} MiB; ask for less.")
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unanswered(f"{who} was not reached: {type(error).__name__}.") from error
    return _read(who, status, body)


def _read(who: str, status: int, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unanswered(f"{who} answered {status} with no JSON.") from error
    if not isinstance(found, dict) or found.get("status") != "success":
        why = str(found.get("error", status))[:200] if isinstance(found, dict) else "an odd answer"
        raise Unanswered(f"{who} refused the query: {why}")
    data = found.get("data")
    return data if isinstance(data, dict) else {"result": data}


def quoted(text: str) -> str:
    """A text as PromQL and LogQL take it between double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
