"""Tell apart the names in a shared environment: ours, Kubernetes', other programs', slips."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches

from watchword.errors import Fault
from watchword.settings.postgres_url import is_postgres
from watchword.settings.row import ENVIRONMENT_PREFIX
from watchword.settings.rules import sqlite_file

# Each pod gets these for a Service `watchword…`; `docker run --link` adds two kinds.
_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
_MADE = re.compile(
    r"WATCHWORD(_[A-Z0-9_]+)?(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINKED = re.compile(r"WATCHWORD(_[A-Z0-9_]+)?(_NAME|_ENV_\w+)")
_SLIP, _SIMILAR = 0.77, 0.6  # similarity: a slip; perhaps a slip


def is_made_by_platform(variable: str, text: str) -> bool:
    """Tell whether Kubernetes or Docker made this variable for our name."""
    if _MADE.fullmatch(variable):
        return True
    if variable.endswith("_PORT") and _ADDRESS.fullmatch(text.strip()):
        return True
    linked = _LINKED.fullmatch(variable)
    return linked is not None and (linked[2] != "_NAME" or text.startswith("/"))


def made_by_platform(variables: Iterable[str]) -> Fault:
    """Make one warning of all."""
    names = sorted(variables)
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Fault(
        names[0] + rest,
        "made by Kubernetes or Docker for a Service of this name, and ignored",
        "enableServiceLinks: false in the pod's spec leaves them out",
    )


def is_slip(name: str, known: Iterable[str]) -> bool:
    """Tell whether an unknown name means a setting. Ignored, its setting would stay open."""
    name = name.lower()
    return any(SequenceMatcher(None, name, each).ratio() >= _SLIP or sorted(name) == sorted(each) for each in known)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Hint at the most similar setting."""
    # The prefix would make any two names look alike.
    close = get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX).lower(), list(known), n=1, cutoff=_SIMILAR)
    if not close:
        return "watchword settings lists every name"
    return f"did you mean {ENVIRONMENT_PREFIX + close[0].upper() if name.startswith(ENVIRONMENT_PREFIX) else close[0]}?"


def made_up(names: Mapping[str, str]) -> tuple[Fault, ...]:
    """Make one warning of all unknown names; similar ones get their own.

    :param names: variable → hint.
    """
    unlike = sorted(name for name, hint in names.items() if not hint.startswith("did"))
    alike = (Fault(name, "is not a setting, and ignored", hint) for name, hint in names.items() if name not in unlike)
    if not unlike:
        return tuple(alike)
    rest = f" and {len(unlike) - 1} more" if len(unlike) > 1 else ""
    verb = "are not settings" if rest else "is not a setting"
    return (*alike, Fault(unlike[0] + rest, f"{verb}, and ignored", names[unlike[0]]))


def belongs_to_others(variable: str, text: str) -> Fault | None:
    """Warn of another program's PORT, DATABASE_URL or REDIS_URL; None when it is usable."""
    said = {
        "PORT": ("is not a port number", re.fullmatch(r"[0-9]+", text) is not None),
        "DATABASE_URL": (
            "names neither an SQLite file nor a PostgreSQL database, so it is another program's",
            sqlite_file(text) is not None or is_postgres(text),
        ),
        "REDIS_URL": ("may be another program's cache, which forgets what it likes", False),
    }
    why, ours = said[variable]
    if ours:
        return None
    own = f"{ENVIRONMENT_PREFIX}{variable}"
    hint = (
        f"set {own} if it was meant for Watchword" if variable != "DATABASE_URL" else f"{own}=off keeps this line away"
    )
    return Fault(variable, f"{why}: ignored", hint)
