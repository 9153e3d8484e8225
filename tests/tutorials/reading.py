"""What a reader does with a token: look into it, change it, verify it with a library."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any


def header(token: str) -> dict[str, Any]:
    """The header, as a web page for looking at tokens shows it."""
    return _part(token, 0)


def claims(token: str) -> dict[str, Any]:
    """The claims, not verified."""
    return _part(token, 1)


def _part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    return dict(json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def _written(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def tampered(token: str) -> list[str]:
    """The token with another user, another role, a longer life, no algorithm, a changed and a cut signature."""
    head, body, signature = token.split(".")
    changes: list[dict[str, Any]] = [{"sub": "somebody-else"}, {"roles": ["admin"]}, {"exp": 9_999_999_999}]
    changed = [f"{head}.{_written({**claims(token), **change})}.{signature}" for change in changes]
    changed.append(f"{_written({**header(token), 'alg': 'none'})}.{body}.")
    changed.append(f"{_written({**header(token), 'alg': 'none'})}.{body}.{signature}")
    changed.append(f"{_written({**header(token), 'alg': 'HS256'})}.{body}.{signature}")
    flipped = "A" if signature[10] != "A" else "B"
    changed.append(f"{head}.{body}.{signature[:10]}{flipped}{signature[11:]}")
    changed.append(f"{head}.{body}.{signature[:-1]}")
    return [one for one in changed if one != token]  # "HS256" changes nothing where that is the algorithm
