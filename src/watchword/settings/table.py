"""The table of settings: each attribute of `Settings` is a row. A new setting is written here only."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from watchword.hosts import is_loopback
from watchword.settings import claims as own_claims
from watchword.settings import colors, legacy, smtp_url
from watchword.settings import scopes as scope_table
from watchword.settings import values as read
from watchword.settings.frozen import Frozen
from watchword.settings.row import CountedBy, Limited, Setting
from watchword.settings.rules import AUTO_ON_POSTGRES, AUTO_ON_SQLITE
from watchword.settings.values import DAY, Limit, Proxies

ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256")


class Settings(Frozen):
    """All settings, checked and complete.

    Built directly it reads no environment and no file. It takes values or their text (`access_lifetime="5m"`). None
    turns a limit, the key rotation or the audit retention off; elsewhere it means not given. `repr` and `str` mask
    secrets.

    :raises SettingsError: with every fault found, each with a hint.
    """

    __slots__ = ()

    # fmt: off
    host: Setting[str] = Setting("127.0.0.1", read.host, "Address to listen on.")
    port: Setting[int] = Setting("4000", read.number(1, 65535), "Port to listen on; a bare PORT is understood too.")
    public_url: Setting[str] = Setting("", read.unless_off(read.public_url), "Where clients reach the service, path included; the issuer of its tokens, byte for byte. Needed beyond loopback.", "from host, port and path prefix")
    path_prefix: Setting[str] = Setting("", read.url_path, "Path before every route, such as /api.", "the path of the public URL")
    data_dir: Setting[Path] = Setting("./watchword-data", read.folder, "Directory for the database and the secret made on first start.")
    database_url: Setting[str] = Setting("", read.unless_off(read.words), "The database: sqlite:///path or postgresql://user:password@host/database; a bare DATABASE_URL of either kind is understood too, unless this is off.", "sqlite:///<data dir>/watchword.db", in_file=True)
    redis_url: Setting[str | None] = Setting("", read.unless_off(read.words), "Valkey or Redis for the counters of limits, such as redis://host:6379/0; off says nothing of a bare REDIS_URL.", "none", in_file=True)
    secret: Setting[tuple[bytes, ...] | None] = Setting("", read.unless_off(read.secrets), "Master secret: base64url of at least 32 random bytes, or a comma list, current first.", "made on first start", secret=True, many=True)
    jwt_secret: Setting[bytes | None] = Setting("", read.unless_off(read.shared_secret), "Secret shared with the APIs that verify HS256 tokens; at least 32 bytes.", "none", secret=True)
    algorithm: Setting[str] = Setting("", read.unless_off(read.choice(*ALGORITHMS)), f"How access tokens are signed: {', '.join(ALGORITHMS)}.", "ES256; HS256 with a JWT secret")
    key_rotation: Setting[timedelta | None] = Setting("30d", read.unless_off(read.duration(2 * DAY, 3650 * DAY)), "How long a signing key signs before the next one does; off: until `watchword keys rotate`.")
    audience: Setting[str] = Setting("", read.unless_off(read.audience), "The aud claim of access tokens.", "the public URL")
    scopes: Setting[scope_table.RoleScopes | None] = Setting("", read.unless_off(scope_table.role_scopes), "Which scopes each role gives, and * every user: *=read,editor=read write. Without it `watchword scopes` and /admin/scopes say so.", "none", many=True)
    claims: Setting[tuple[own_claims.Mapped, ...]] = Setting("", own_claims.mapping, "Which data of users go into access tokens: a comma list such as tenant=public_metadata.tenant,name=name.", "none", many=True)
    access_lifetime: Setting[timedelta] = Setting("15m", read.duration(1, DAY), "Life of an access token.")
    refresh_idle: Setting[timedelta] = Setting("7d", read.duration(1, 3650 * DAY), "A session not refreshed for this long has ended.")
    session_lifetime: Setting[timedelta] = Setting("30d", read.duration(1, 3650 * DAY), "A session ends this long after log-in at the latest.")
    refresh_grace: Setting[timedelta] = Setting("30s", read.duration(0, 120), "How long a refresh token just used still yields the same successor.")
    password_hash: Setting[Literal["argon2id", "bcrypt"]] = Setting("argon2id", read.choice("argon2id", "bcrypt"), "How new passwords are hashed: argon2id or bcrypt.")
    password_policy: Setting[Literal["default", "nist"]] = Setting("default", read.choice("default", "nist"), "default: 8 characters; nist: 15.")
    login_limit: Limited = Limited("10/15m", "Failed log-ins", CountedBy.ADDRESS_AND_ACCOUNT)
    login_address_limit: Limited = Limited("100/15m", "Failed log-ins", CountedBy.ADDRESS)
    login_account_limit: Limited = Limited("100/15m", "Failed log-ins", CountedBy.ACCOUNT, grows=True)
    login_device_limit: Limited = Limited("10/15m", "Failed log-ins", CountedBy.DEVICE)
    code_limit: Limited = Limited("10/1d", "Wrong codes to log in", CountedBy.MAIL)
    code_address_limit: Limited = Limited("100/15m", "Wrong codes to log in", CountedBy.ADDRESS)
    code_account_limit: Limited = Limited("300/1d", "Wrong codes to log in", CountedBy.ACCOUNT)
    mail_code_limit: Limited = Limited("100/15m", "Wrong codes that set a password or confirm an address", CountedBy.ADDRESS)
    register_limit: Limited = Limited("20/1h", "Registrations", CountedBy.ADDRESS)
    session_limit: Limited = Limited("300/1h", "Log-ins that succeed, and other uses of the right password,", CountedBy.ACCOUNT)
    session_address_limit: Limited = Limited("3000/1h", "Log-ins that succeed, and other uses of the right password,", CountedBy.ADDRESS)
    change_limit: Limited = Limited("60/1h", "Changes of an account by its owner,", CountedBy.ACCOUNT)
    change_address_limit: Limited = Limited("600/1h", "Changes of an account by its owner,", CountedBy.ADDRESS)
    conflict_limit: Limited = Limited("20/1h", "Answers that a username or an e-mail address is taken,", CountedBy.ADDRESS, CountedBy.ACCOUNT)
    second_factor_limit: Limited = Limited("10/1h", "Wrong second factors, where a factor asks for one,", CountedBy.ACCOUNT)
    legacy_limit: Limited = Limited("30/1h", "Sessions for a token of the application that was there before,", CountedBy.ACCOUNT)
    mail_limit: Limited = Limited("10/1d", "Mails with a link or a code, of each kind,", CountedBy.ACCOUNT)
    mail_address_limit: Limited = Limited("60/1h", "Mails with a link or a code that are asked for,", CountedBy.ADDRESS)
    admin_limit: Limited = Limited("3000/1h", "Requests to /admin", CountedBy.ACCOUNT)
    client_limit: Limited = Limited("3600/1h", "Tokens for a service account, and apart from them assertions that it signs,", CountedBy.ACCOUNT)
    inspection_limit: Limited = Limited("6000/1m", "Requests of a service account to /introspect and /revoke", CountedBy.ACCOUNT)
    client_proof_limit: Limited = Limited("100/15m", "Clients that fail to prove which service account they are,", CountedBy.ADDRESS)
    api_key_limit: Limited = Limited("3600/1h", "Tokens for API keys of one user,", CountedBy.ACCOUNT)
    api_key_each_limit: Limited = Limited("900/1h", "Tokens for API keys", CountedBy.KEY)
    api_key_address_limit: Limited = Limited("36000/1h", "Tokens for API keys, unless a guard that shows its guard key asks for them,", CountedBy.ADDRESS)
    private_email: Setting[bool] = Setting("off", read.switch, "Accept e-mail addresses of closed networks, such as ada@mail.internal, ada@host.local or ada@localhost.")
    audit_retention: Setting[timedelta | None] = Setting("365d", read.unless_off(read.duration(DAY, 3650 * DAY)), "How long audit records are kept; off: for ever.")
    email_verification: Setting[Literal["off", "optional", "required"]] = Setting("off", read.choice("off", "optional", "required"), "off: no one is asked; optional: registering sends a link to confirm the address; required: an account begins with it, and no one logs in with an unconfirmed address.")
    email_login: Setting[bool] = Setting("off", read.switch, "Log in by a code that is sent by e-mail.")
    smtp_url: Setting[str | None] = Setting("", read.unless_off(smtp_url.url), "The mail server: smtp://user:password@host:587, where TLS by STARTTLS is required, or smtps://host:465.", "mail is printed on a loopback public URL, and there is none beyond", secret=True)
    mail_from: Setting[str | None] = Setting("", read.unless_off(read.sender), "What mail comes from: no-reply@example.com or Example <no-reply@example.com>. Needed with a mail server.", "none")
    mail_templates: Setting[Path | None] = Setting("", read.unless_off(read.folder), "Directory with templates and catalogues of your own.", "none")
    access_cookie: Setting[bool] = Setting("off", read.switch, "Log-in and refresh also set the access token as a cookie, for pages made on a server and for proxies that protect pages.")
    webhook_patience: Setting[timedelta] = Setting("5d", read.duration(3600, 90 * DAY), "An endpoint of webhooks that has taken nothing for this long is disabled.")
    pages: Setting[bool] = Setting("on", read.switch, "Pages for people at /account: log in, register, forgotten password, sessions and more.")
    pages_name: Setting[str] = Setting("", read.unless_off(read.words), "What these pages call the service.", "the host of the public URL")
    pages_color: Setting[str] = Setting("#0b4f9e", colors.color(colors.LIGHT), "Links and buttons on the light pages, as #rrggbb; at least 4.5 to 1 on white.")
    pages_color_dark: Setting[str] = Setting("#8ec1ff", colors.color(colors.DARK), "The same on the dark pages; at least 4.5 to 1 on #161616.")
    pages_templates: Setting[Path | None] = Setting("", read.unless_off(read.folder), "Directory with page templates, a pages.css and catalogues of your own.", "none")
    registration: Setting[Literal["open", "closed"]] = Setting("open", read.choice("open", "closed", also={"on": "open", "off": "closed"}), "Who may register: open or closed.")
    admin: Setting[bool] = Setting("off", read.switch, "Administration over HTTP at /admin, for users with the role admin.")
    admin_max_age: Setting[timedelta] = Setting("15m", read.duration(60, DAY), "How long ago an administrator may have logged in at most.")
    allowed_origins: Setting[tuple[str, ...]] = Setting("", read.origins, "Comma list of other web origins that may read answers and use the cookie routes.", "none", many=True)
    allowed_headers: Setting[tuple[str, ...]] = Setting("", read.header_names, "Comma list of request headers that pages of those origins may send, besides the usual ones and those of tracing.", "none", many=True)
    trusted_proxies: Setting[Proxies] = Setting("", read.proxies, "The reverse proxies to believe about the client's address: how many stand in front, or their networks such as 10.0.0.0/8,fd00::/8. Needed with an https public URL.", "0", many=True)
    password_grant: Setting[bool] = Setting("on", read.switch, "POST /token with grant_type=password.")
    legacy_jwt_secret: Setting[bytes | None] = Setting("", read.unless_off(legacy.secret), "Secret of the HS256 tokens of the application that was there before, which POST /token turns into sessions until WATCHWORD_LEGACY_UNTIL.", "none", secret=True)
    legacy_jwks: Setting[str | None] = Setting("", read.unless_off(read.words), "Or the public keys that it signed with: a JWK set as JSON on one line, or in a file.", "none", in_file=True)
    legacy_subject: Setting[str | None] = Setting("", read.unless_off(read.words), "The claim of its tokens that names the user, and what it holds: user_id:id if the ids were kept, user_id:external if not, sub:username; user.id:id for a claim inside an object.", "none; needed with it")
    legacy_audience: Setting[str | None] = Setting("", read.unless_off(read.words), "The aud claim of its tokens, if they have one.", "tokens with an aud are refused")
    legacy_until: Setting[date | None] = Setting("", read.unless_off(legacy.day), "The day from whose beginning in UTC its tokens are refused, at most 180 days ahead; until then revocations of users are kept for them.", "none; needed with it")
    docs: Setting[bool] = Setting("", read.switch, "API documentation at /docs and /openapi.json.", "on for a loopback public URL")
    drain: Setting[timedelta] = Setting("0s", read.duration(0, 600), "How long requests are still taken after SIGTERM, while /readyz answers 503 already.")
    workers: Setting[int] = Setting("1", read.number_or_auto(1, 64), f"Server processes; auto: one for each processor that may be used, at most {AUTO_ON_SQLITE} on SQLite and {AUTO_ON_POSTGRES} on PostgreSQL.")
    metrics_port: Setting[int | None] = Setting("", read.unless_off(read.number(1, 65535)), "Port of /metrics for Prometheus, apart from the service's own; only `watchword serve` opens it.", "none")
    metrics_host: Setting[str] = Setting("127.0.0.1", read.host, "Address of that port. Anyone who reaches it reads the numbers.")
    tracing: Setting[bool] = Setting("off", read.switch, "Send traces by OpenTelemetry, to where the OTEL_… variables say.")
    log_format: Setting[Literal["console", "json"]] = Setting("", read.unless_off(read.choice("console", "json")), "Log lines for people (console) or for programs (json).", "console on a terminal, json otherwise")
    log_level: Setting[Literal["debug", "info", "warning", "error"]] = Setting("info", read.choice("debug", "info", "warning", "error"), "The least important log line to write.")
    # fmt: on

    @property
    def database_path(self) -> Path | None:
        """Return the SQLite file in `database_url`, or None for PostgreSQL."""
        path: Path | None = self.value("database_path")
        return path

    @property
    def is_on_loopback(self) -> bool:
        """Tell whether only this machine can reach the public URL."""
        return is_loopback(urlsplit(self.public_url).hostname or "")

    @property
    def sends_mail(self) -> bool:
        """Tell whether mail leaves: to a mail server, or to a developer's terminal. It holds links that log people in."""
        return self.smtp_url is not None or self.is_on_loopback


BY_NAME = Settings.rows
SETTINGS = tuple(BY_NAME.values())
LIMITS = tuple(row for row in SETTINGS if isinstance(row, Limited))
BARE = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url", "PORT": "port"}


def limits_of(settings: Settings) -> dict[str, Limit | None]:
    """Return name → limit for the throttle, None for one that is off."""
    return {row.limit: settings.value(row.name) for row in LIMITS}
