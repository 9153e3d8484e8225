"""What is told of a token: the answer of `explaining`, whatever kind of token it is."""

from __future__ import annotations

from typing import NamedTuple


class Explained(NamedTuple):
    """What is known of a token.

    :param kind: `access`, `refresh`, `legacy` or `none`.
    :param accepted: whether the service accepts it now.
    :param code: the one that a client gets; None when it is accepted.
    :param reasons: why it is refused, each a sentence, the first the decisive one.
    :param facts: what is in it and about it; nothing secret.
    """

    kind: str
    accepted: bool
    code: str | None
    reasons: list[str]
    facts: dict[str, str]


def shown(value: object) -> str:
    """Return text from a token for a terminal: short, in ASCII, without control characters."""
    text = value if isinstance(value, str) else repr(value)
    plain = text if text.isascii() and text.isprintable() else ascii(text)
    return plain if len(plain) <= 200 else f"{plain[:200]}…"  # noqa: PLR2004 - one line or two
