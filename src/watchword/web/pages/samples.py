"""Each template of a page, with an example of what it shows: an operator's own is tried with them at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_FAULTS = ({"field": "password", "message": "A password has at least 8 characters."}, {"field": "", "message": "No."})
_FORM: Mapping[str, Any] = {
    "faults": _FAULTS,
    "typed": {"username": "ada", "email": "ada@example.com"},
    "token": "AAAA",
    "note": "",
}
_USER = {"username": "ada", "email": "ada@example.com", "email_verified": False, "created": "2026-11-28"}
_SESSION = {
    "id": "0197f1a2-7c00-7abc-8def-223344556677",
    "device": "Firefox on Linux",
    "address": "203.0.113.9",
    "used": "2026-11-28 10:15 UTC",
    "current": False,
}
_LINK = {"title": "Set a new password", "about": "Choose one.", "button": "Set the password", "asks": "new_password",
         "asks_username": True, "username": "ada"}  # fmt: skip

SAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "link.html": {"link": _LINK, "faults": ("No.",)},
    "said.html": {"title": "Log out", "about": "You are logged out.", "onward": ""},
    "worthless.html": {},
    "refused.html": {"title": "Something went wrong", "about": "A field was sent twice.", "onward": "account"},
    "log_in.html": {**_FORM, "next": "/orders", "registration": True, "mail": True, "code": True, "confirms": True},
    "code.html": {**_FORM, "next": "/orders"},
    "enter_code.html": {**_FORM, "next": "/orders", "handle": "wwh_A"},
    "register.html": {**_FORM, "next": "/orders", "needs_email": True},
    "forgotten.html": _FORM,
    "reset.html": {**_FORM, "handle": "wwh_A"},
    "verify.html": _FORM,
    "confirm.html": {**_FORM, "handle": "wwh_A"},
    "account.html": {**_FORM, "user": _USER, "sessions": (_SESSION, {**_SESSION, "current": True}), "mail": True},
    "password.html": {**_FORM, "user": _USER},
    "address.html": {**_FORM, "user": _USER},
    "close.html": {**_FORM, "user": _USER},
    "moment.html": {},
}

PARTS: Final = ("layout.html", "form.html")
"""What these are made of."""


def otherwise(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same example with every switch turned and every text that may be missing left out, or put in.

    So a template is tried in both branches of what it asks.
    """
    return {name: _turned(value) for name, value in values.items()}


def _turned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return otherwise(value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "" if value else "Log in"
    return ()
