"""The rules between settings, and the values derived from others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from watchword.errors import Fault, SettingsError
from watchword.hosts import is_loopback
from watchword.platforms import POSIX, cores
from watchword.settings import legacy, postgres_url, redis_url, smtp_url
from watchword.settings.row import Setting, variable
from watchword.settings.unitless import doubt
from watchword.settings.values import Unfit, check_text, is_among
from watchword.settings.written import meant

LONGEST_ISSUER = LONGEST_AUDIENCE = 255
"""Characters that token verifiers accept in `iss` and `aud`."""

AUTO_ON_SQLITE = 4
"""Processes that `auto` starts at most: SQLite's writers take turns."""

AUTO_ON_POSTGRES = 8
"""Processes that `auto` starts at most: with 10 connections each they fit into a server's usual 100."""

_HTTP_PORT = 80  # browsers leave it out of an origin
_SQLITE = ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite")


@dataclass(slots=True)
class Draft:
    """Settings under construction."""

    values: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, name: str, message: str, hint: str) -> None:
        """Note one more fault."""
        self.faults.append(Fault(variable(name), message, hint))

    def usable(self, *names: str) -> bool:
        """Tell whether all of these have values."""
        return all(name in self.values for name in names)


def complete(
    rows: Mapping[str, Setting[Any]],
    texts: Mapping[str, str],
    *,
    unreadable: Collection[str] = (),
    verbatim: Collection[str] = (),
) -> Draft:
    """Read every setting, and apply every rule.

    :param rows: name → setting: the table.
    :param texts: name → text; empty means not given.
    :param unreadable: settings with a reported fault; no rule reads them.
    :param verbatim: settings that hold key bytes, taken as they are.
    :raises SettingsError: with all faults at once.
    """
    draft = Draft()
    for setting in rows.values():
        if setting.name in unreadable:
            continue
        text = texts.get(setting.name, "")
        try:
            check_text(text)
            if setting.name not in verbatim:
                text = _meant(setting, text)
            if text:
                draft.given.add(setting.name)
            value = setting.read(text or setting.default) if text or setting.default else None
            draft.values[setting.name] = value
            if text and (doubted := doubt(setting, text, value)) is not None:
                draft.warnings.append(Fault(setting.variable, doubted.message, doubted.hint))
        except Unfit as unfit:
            draft.fault(setting.name, unfit.message, unfit.hint)
    for needs, rule in RULES:
        if draft.usable(*needs):
            rule(draft)
    if draft.faults:
        raise SettingsError(tuple(draft.faults))
    return draft


def _meant(setting: Setting[Any], text: str) -> str:
    found = meant(text, many=setting.many)
    if text and not found and setting.secret:  # a template's slip: taken as not given, a new secret would be made
        made = "make one with: watchword secret" if setting.name.endswith("secret") else "give one"
        raise Unfit("is given and is blank", f"{made}, or leave it out")
    return found


def _bind(draft: Draft) -> None:
    """Require a public URL off loopback: otherwise issuer, links and cookie security would follow a Host header."""
    host = draft.values["host"]
    if draft.values["public_url"] is None and not is_loopback(host):
        draft.fault(
            "public_url",
            f"is needed to listen on {host}, which others can reach",
            "set it to the https address that clients use, such as https://auth.example.com, or listen on 127.0.0.1",
        )


def _addresses(draft: Draft) -> None:
    """Derive public URL and path prefix from each other, audience and documentation from the public URL."""
    values = draft.values
    if values["public_url"] is None:
        host = values["host"].lower()
        port = "" if values["port"] == _HTTP_PORT else f":{values['port']}"
        values["public_url"] = f"http://{f'[{host}]' if ':' in host else host}{port}{values['path_prefix'] or ''}"
    if values["path_prefix"] is None:
        values["path_prefix"] = urlsplit(values["public_url"]).path
    if values["audience"] is None:
        values["audience"] = values["public_url"]
    if values["docs"] is None:
        values["docs"] = is_loopback(urlsplit(values["public_url"]).hostname or "")


def _claims(draft: Draft) -> None:
    """Limit claims to what every verifier reads, leaving room for roles."""
    for name, longest in (("public_url", LONGEST_ISSUER), ("audience", LONGEST_AUDIENCE)):
        length = len(draft.values[name] or "")
        if length > longest:
            draft.fault(name, f"has {length} characters", f"every token holds it: use at most {longest}")


def _origins(draft: Draft) -> None:
    """Refuse http origins: their pages could be changed on the way, and act for the user."""
    url: str | None = draft.values["public_url"]  # None: its fault is reported already
    if url is None or not url.startswith("https:"):
        return
    for each in draft.values["allowed_origins"]:
        if each.startswith("http:") and not is_loopback(urlsplit(each).hostname or ""):
            secure = each.replace("http:", "https:")
            draft.fault("allowed_origins", f"{each} is http, the service https", f"use {secure}")


def _trusted_proxies(draft: Draft) -> None:
    """Require the proxies with https, which implies one: unnamed, it would be everyone's one address."""
    values = draft.values
    if values["trusted_proxies"] is not None:
        return
    values["trusted_proxies"] = 0
    if (values["public_url"] or "").startswith("https:"):
        draft.fault(
            "trusted_proxies",
            "is needed with an https public URL: without it all clients behind your proxy share one address and its"
            " limits",
            "set it to 1 with nginx or Caddy in front; to the proxies' networks, such as 10.0.0.0/8, where many come"
            " and go (Kubernetes, a load balancer); to 0 only if clients connect to this process directly",
        )


def _database(draft: Draft) -> None:
    values = draft.values
    url: str | None = values["database_url"]
    if url is None:
        values["database_path"] = values["data_dir"] / "watchword.db"
        values["database_url"] = f"sqlite:///{values['database_path']}"
        return
    scheme = url.partition("://")[0].lower()
    path = sqlite_file(url)
    if postgres_url.is_postgres(url):
        _postgres(draft, url)
    elif scheme not in _SQLITE or "://" not in url:
        message = f"{scheme[:20]!a} is not a database Watchword knows"
        draft.fault("database_url", message, f"use sqlite:///path/to/file.db or {postgres_url.FORM}")
    elif path is None:
        draft.fault(
            "database_url",
            "does not name a file",
            "write sqlite:///relative/path.db or sqlite:////absolute/path.db, without parameters",
        )
    else:
        _sqlite(draft, path)


def sqlite_file(url: str) -> str | None:
    """Return the path in a SQLite URL; None for any other."""
    scheme, separator, rest = url.partition("://")
    path = unquote(rest.removeprefix("/"))
    if scheme.lower() not in _SQLITE or not separator or not rest.startswith("/"):
        return None
    return None if path in ("", ":memory:") or "?" in rest or "#" in rest or "\0" in path else path


def _sqlite(draft: Draft, path: str) -> None:
    draft.values["database_path"] = Path(path)
    home = os.path.abspath(draft.values["data_dir"])
    if os.path.dirname(os.path.abspath(path)) != home and draft.usable("secret") and not draft.values["secret"]:
        # A secret made here would be lost with the machine, while the database stays elsewhere.
        _need_secret(draft)


def _postgres(draft: Draft, url: str) -> None:
    draft.values["database_path"] = None
    try:
        postgres_url.read(url)
    except Unfit as unfit:
        draft.fault("database_url", unfit.message, unfit.hint)
    if draft.usable("secret") and not draft.values["secret"]:
        _need_secret(draft)


def _need_secret(draft: Draft) -> None:
    draft.fault(
        "secret",
        "is needed for a database outside the data directory",
        "make one with: watchword secret, and give it as WATCHWORD_SECRET or WATCHWORD_SECRET_FILE, "
        "or keep the database in the data directory (a bare DATABASE_URL of another program: "
        "WATCHWORD_DATABASE_URL=off)",
    )


def _workers(draft: Draft) -> None:
    """Count what may be used; a system that cannot share a port has one process."""
    if draft.values["workers"] is None:
        most = AUTO_ON_POSTGRES if draft.values["database_path"] is None else AUTO_ON_SQLITE
        draft.values["workers"] = min(cores(), most) if POSIX else 1


def _redis(draft: Draft) -> None:
    url: str | None = draft.values["redis_url"]
    if url is None:
        return
    try:
        draft.values["redis_url"] = redis_url.read(url)
    except Unfit as error:
        draft.fault("redis_url", error.message, error.hint)


def _algorithm(draft: Draft) -> None:
    shared, algorithm = draft.values["jwt_secret"], draft.values["algorithm"]
    if algorithm is None:
        draft.values["algorithm"] = "HS256" if shared else "ES256"
    elif algorithm == "HS256" and not shared:
        draft.fault(
            "algorithm",
            "is HS256, which needs WATCHWORD_JWT_SECRET",
            "make one with: watchword secret, or leave the algorithm out for ES256: those who verify cannot forge then",
        )
    elif algorithm != "HS256" and shared:
        draft.fault(
            "algorithm",
            f"is {algorithm}, but WATCHWORD_JWT_SECRET is for HS256 only",
            "leave out one of the two",
        )


def _two_secrets(draft: Draft) -> None:
    """Keep the secrets apart: an API that holds the HS256 secret must not hold the master secret."""
    shared, masters = draft.values["jwt_secret"], draft.values["secret"]
    if shared and masters and is_among(shared, masters):
        draft.fault(
            "jwt_secret",
            "is also a WATCHWORD_SECRET, which an API that verifies tokens must not know",
            "make another one with: watchword secret, for WATCHWORD_JWT_SECRET",
        )


def _lifetimes(draft: Draft) -> None:
    idle, session = draft.values["refresh_idle"], draft.values["session_lifetime"]
    if idle <= session:
        return
    if "refresh_idle" in draft.given:
        draft.fault("refresh_idle", "is longer than the session lifetime", "make it at most WATCHWORD_SESSION_LIFETIME")
    else:
        # Only a session lifetime was given, and it is shorter than the default.
        draft.values["refresh_idle"] = session


def _mail(draft: Draft) -> None:
    """Require a sender with a mail server, and a mail server where addresses are to be confirmed.

    Without one mail is printed, which is for a developer's own machine: it holds links that log people in.
    """
    values = draft.values
    if values["smtp_url"] is not None and values["mail_from"] is None:
        draft.fault("mail_from", "is needed with a mail server", "such as Example <no-reply@example.com>")
    if values["smtp_url"] is None and not is_loopback(urlsplit(values["public_url"] or "").hostname or ""):
        for name, off in (("email_verification", "off"), ("email_login", False)):
            if values[name] != off:
                message = "needs a mail server, since others can reach the public URL"
                draft.fault(name, message, f"set WATCHWORD_SMTP_URL={smtp_url.FORM}")


def _folders(draft: Draft) -> None:
    for name in ("mail_templates", "pages_templates"):
        folder: Path | None = draft.values[name]
        fault = "" if folder is None else _fault_of_folder(folder)
        if fault:
            draft.fault(name, fault, "name one that exists and can be read, or leave it out")


def _fault_of_folder(folder: Path) -> str:
    """Return why this is no directory, or ""."""
    try:
        folder.stat()  # what `is_dir` raises differs between releases of Python
        return "" if folder.is_dir() else "is no directory"
    except (FileNotFoundError, NotADirectoryError):
        return "is no directory"
    except OSError as error:  # a name that is too long, a parent that may not be read
        return f"cannot be looked at: {(error.strerror or 'unreadable').lower()}"


def _pages_name(draft: Draft) -> None:
    draft.values["pages_name"] = draft.values["pages_name"] or urlsplit(draft.values["public_url"] or "").hostname or ""


def _log_format(draft: Draft) -> None:
    if draft.values["log_format"] is None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        draft.values["log_format"] = "console" if terminal else "json"


def _metrics(draft: Draft) -> None:
    if draft.values["metrics_port"] == draft.values["port"]:
        draft.fault("metrics_port", "is the service's own port", "choose another one, such as 9464")


def _absent_origins(draft: Draft) -> None:
    draft.values["allowed_origins"] = draft.values["allowed_origins"] or ()


def _absent_claims(draft: Draft) -> None:
    draft.values["claims"] = draft.values["claims"] or ()


def _absent_headers(draft: Draft) -> None:
    draft.values["allowed_headers"] = draft.values["allowed_headers"] or ()


# In this order. A rule is skipped when its settings have a reported fault.
RULES: tuple[tuple[tuple[str, ...], Callable[[Draft], None]], ...] = (
    (("allowed_origins",), _absent_origins),
    (("allowed_headers",), _absent_headers),
    (("claims",), _absent_claims),
    (("host", "public_url"), _bind),
    (("host", "port", "public_url", "path_prefix", "audience", "docs"), _addresses),
    (("host", "port", "path_prefix", "public_url", "audience"), _claims),
    (("host", "port", "path_prefix", "public_url", "allowed_origins"), _origins),
    (("public_url", "trusted_proxies", "host", "port", "path_prefix"), _trusted_proxies),
    (("data_dir", "database_url"), _database),
    (("workers", "data_dir", "database_url"), _workers),
    (("redis_url",), _redis),
    (("jwt_secret", "algorithm"), _algorithm),
    (("jwt_secret", "secret"), _two_secrets),
    ((*legacy.NAMES, "jwt_secret", "secret"), lambda draft: legacy.rule(draft.values, draft.fault)),
    (("refresh_idle", "session_lifetime"), _lifetimes),
    (
        (
            "host",
            "port",
            "path_prefix",
            "public_url",
            "smtp_url",
            "mail_from",
            "email_verification",
            "email_login",
        ),
        _mail,
    ),
    (("mail_templates", "pages_templates"), _folders),
    (("host", "port", "path_prefix", "public_url", "pages_name"), _pages_name),
    (("log_format",), _log_format),
    (("port", "metrics_port"), _metrics),
)
