"""How the tokens of an application that was there before are described: each value, and all together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from watchword.errors import InvalidKey
from watchword.known_secrets import check_shared_secret
from watchword.settings.row import variable
from watchword.settings.values import Unfit, is_among

NAMES = ("legacy_jwt_secret", "legacy_jwks", "legacy_subject", "legacy_audience", "legacy_until")
_LEAST_SECRET = 16
_LONGEST_QUOTE = 20


def secret(text: str) -> bytes:
    """Read its HS256 secret: the characters are the key. A known one is refused: anyone could make its tokens."""
    raw = text.encode("utf-8", "surrogateescape")
    try:
        check_shared_secret(raw, least=_LEAST_SECRET)
    except InvalidKey as error:
        said = error.message.removeprefix("The shared secret ").rstrip(".")
        raise Unfit(
            f"{said}: anyone can make tokens with it, in any user's name",
            "leave it out, and let people log in once with their passwords, which they keep",
        ) from None
    return raw


def day(text: str) -> date:
    """Read a day: `2027-01-31`."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
            return date.fromisoformat(text.strip())
    except ValueError:
        pass
    raise Unfit(f"{text[:_LONGEST_QUOTE]!a} is not a day", "write it like 2027-01-31")


def rule(values: Mapping[str, Any], fault: Callable[[str, str, str], None]) -> None:
    """Require a key, the claim and the day together, and a secret that is none of ours.

    :param fault: takes a setting, what is wrong with it, and a hint.
    """
    keys = [name for name in NAMES[:2] if values[name] is not None]
    if len(keys) > 1:
        fault("legacy_jwks", f"is given beside {variable(keys[0])}", "leave out one of the two")
    for name, form in (("legacy_subject", "user_id:id"), ("legacy_until", "2027-01-31")):
        if keys and values[name] is None:
            fault(name, f"is needed with {variable(keys[0])}", f"such as {form}")
    for name in NAMES[2:]:
        if not keys and values[name] is not None:
            hint = f"give {variable('legacy_jwt_secret')} or {variable('legacy_jwks')} too, or leave it out"
            fault(name, "is given without a key of the application that was there before", hint)
    old, shared, masters = values["legacy_jwt_secret"], values["jwt_secret"], values["secret"]
    if old is not None and (old == shared or is_among(old, masters or ())):
        fault(
            "legacy_jwt_secret",
            "is a secret of this service too, so the old application could make this service's tokens",
            "make a new one for this service with: watchword secret",
        )
