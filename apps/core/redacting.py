"""Hides secrets in text that comes from outside: what looks like one, and what is known to be one."""

import re
from collections.abc import Iterable

HIDDEN = "(hidden)"
# Every repetition before the part that decides is bounded: text from outside must not cost the square of its length.
_NAMED = re.compile(
    r"(?i)((?:passw(?:or)?d|secret|token|api_?key|private_?key|credential|authorization)[\w.-]{0,40}[\"']?\s{0,3}[=:]\s{0,3})"
    r"(?:(?:bearer|basic)\s{1,3})?(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}&]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,}")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,100}):[^\s@/]{1,500}@")
_PEM = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text with secrets hidden; `known` values of at least six characters are hidden wherever they stand."""
    for value in sorted({v for v in known if len(v) >= 6}, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _PEM.sub(HIDDEN, text)
    text = _URL.sub(rf"\1:{HIDDEN}@", text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", text)
