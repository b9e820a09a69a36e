"""Secrets taken out of texts that people read: lines of logs, parts of bundles."""

import re
from collections.abc import Iterable

PUT = "[redacted]"
# Whatever comes before the part that decides is bounded: text from outside must not cost the square of its length.
#: Names whose values are never shown, as they stand in logs, JSON, headers and addresses.
NAMES = (
    r"(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|"
    r"session[_-]?id|client[_-]?assertion)[\w-]{0,100}"
)
#: What may stand for a value: quoted (to the end, where the quote was cut off), or up to the next space, comma, `&` or bracket.
VALUE = r"\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|[^\s,;&}\])\"']+"
RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S), PUT),
    (re.compile(r"(?i)\b(authorization|proxy-authorization|cookie|set-cookie)(\"?\s{0,9}[:=]\s{0,9}).*?(?=[\"'\r\n]|\Z)"), rf"\1\2{PUT}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {PUT}"),
    (re.compile(rf"(?i)({NAMES})([\"']?\s{{0,9}}[:=]\s{{0,9}})(?!{re.escape(PUT)})(?:{VALUE})"), rf"\1\2{PUT}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://[^\s:/@\"']{0,200}):[^\s/@\"']{1,500}@"), rf"\1:{PUT}@"),
    (re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]{8,}\.[\w-]*"), PUT),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), PUT),
    (re.compile(r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abposr]-[\w-]{10,}|sk_(?:live|test)_\w{10,})"), PUT),
)  # fmt: skip


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """The text with what looks like a secret replaced: values of telling names, headers, keys, well-known tokens.

    `known` values of at least six characters are replaced wherever they stand.
    """
    for value in sorted({v for v in known if len(v) >= 6}, key=len, reverse=True):
        text = text.replace(value, PUT)
    for pattern, put in RULES:
        text = pattern.sub(put, text)
    return text
