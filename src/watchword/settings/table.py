"""Every setting, one row each: its name, its default, how it is read, what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.settings import values as read
from watchword.settings.values import DAY, Reader

ENVIRONMENT_PREFIX = "WATCHWORD_"
ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :param name: as attribute of `Settings` and in `watchword.toml`; in capitals with `WATCHWORD_` in the environment.
    :param default: as it would be written, or empty: no value, or one that follows from other settings.
    :param otherwise: what an empty default means, for readers of the documentation.
    :param secret: never shown, never a flag, also read from the file that `<name>_file` names.
    :param many: a comma list.
    """

    name: str
    default: str
    read: Reader
    purpose: str
    otherwise: str = ""
    secret: bool = False
    many: bool = False

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")


# fmt: off
SETTINGS: tuple[Setting, ...] = (
    Setting("host", "127.0.0.1", read.host, "Address to listen on."),
    Setting("port", "4000", read.number(1, 65535), "Port to listen on; a bare PORT is understood too."),
    Setting("public_url", "", read.unless_off(read.public_url), "Where clients reach the service, path included; the issuer of its tokens, byte for byte. Needed beyond loopback.", "from host, port and path prefix"),
    Setting("path_prefix", "", read.url_path, "Path before every route, such as /api.", "the path of the public URL"),
    Setting("data_dir", "./watchword-data", read.folder, "Directory for the database and the secret made on first start."),
    Setting("database_url", "", read.unless_off(read.words), "The database: sqlite:///path or postgresql://user:password@host/database; a bare DATABASE_URL of either kind is understood too, unless this is off.", "sqlite:///<data dir>/watchword.db"),
    Setting("redis_url", "", read.unless_off(read.words), "Redis or Valkey, not in this version yet; off says nothing of a bare REDIS_URL.", "none"),
    Setting("secret", "", read.unless_off(read.secrets), "Master secret: base64url of at least 32 random bytes, or a comma list, current first.", "made on first start", secret=True, many=True),
    Setting("jwt_secret", "", read.unless_off(read.shared_secret), "Secret shared with those who verify HS256 tokens; at least 32 bytes.", "none", secret=True),
    Setting("algorithm", "", read.unless_off(read.choice(*ALGORITHMS)), f"How access tokens are signed: {', '.join(ALGORITHMS)}.", "ES256; HS256 with a JWT secret"),
    Setting("key_rotation", "30d", read.unless_off(read.duration(2 * DAY, 3650 * DAY)), "How long a signing key signs before the next one does; off: until `watchword keys rotate`."),
    Setting("audience", "", read.unless_off(read.audience), "The aud claim of access tokens.", "the public URL"),
    Setting("access_lifetime", "15m", read.duration(1, DAY), "Life of an access token."),
    Setting("refresh_idle", "7d", read.duration(1, 3650 * DAY), "A session not refreshed for this long has ended."),
    Setting("session_lifetime", "30d", read.duration(1, 3650 * DAY), "A session ends this long after log-in at the latest."),
    Setting("refresh_grace", "30s", read.duration(0, 120), "How long a refresh token just used still yields the same successor."),
    Setting("password_hash", "argon2id", read.choice("argon2id", "bcrypt"), "How new passwords are hashed: argon2id or bcrypt."),
    Setting("password_policy", "default", read.choice("default", "nist"), "default: 8 characters; nist: 15."),
    Setting("login_limit", "10/15m", read.limit, "Failed log-ins per address and account."),
    Setting("login_address_limit", "100/15m", read.limit, "Failed log-ins per address."),
    Setting("login_account_limit", "100/15m", read.limit, "Failed log-ins per account."),
    Setting("register_limit", "20/1h", read.limit, "Registrations per address."),
    Setting("session_limit", "300/1h", read.limit, "Log-ins that succeed, and other uses of the right password, per account."),
    Setting("session_address_limit", "3000/1h", read.limit, "The same per address."),
    Setting("change_limit", "60/1h", read.limit, "Changes of an account by its owner, per account."),
    Setting("change_address_limit", "600/1h", read.limit, "The same per address."),
    Setting("conflict_limit", "20/1h", read.limit, "Answers that a username or an e-mail address is taken, per address and per account."),
    Setting("private_email", "off", read.switch, "Accept e-mail addresses of closed networks, such as ada@mail.internal, ada@host.local or ada@localhost."),
    Setting("audit_retention", "365d", read.unless_off(read.duration(DAY, 3650 * DAY)), "How long audit records are kept; off: for ever."),
    Setting("registration", "open", read.choice("open", "closed", also={"on": "open", "off": "closed"}), "Who may register: open or closed."),
    Setting("allowed_origins", "", read.origins, "Comma list of other web origins that may read answers and use the cookie routes.", "none", many=True),
    Setting("allowed_headers", "", read.header_names, "Comma list of request headers that pages of those origins may send, besides the usual ones and those of tracing.", "none", many=True),
    Setting("trusted_proxies", "", read.proxies, "The reverse proxies to believe about the client's address: how many stand in front, or their networks such as 10.0.0.0/8,fd00::/8. Needed with an https public URL.", "0", many=True),
    Setting("password_grant", "on", read.switch, "POST /token with grant_type=password."),
    Setting("docs", "", read.switch, "API documentation at /docs and /openapi.json.", "on for a loopback public URL"),
    Setting("drain", "0s", read.duration(0, 600), "How long requests are still taken after SIGTERM, while /readyz answers 503 already."),
    Setting("workers", "1", read.number(1, 64), "Server processes."),
    Setting("log_format", "", read.unless_off(read.choice("console", "json")), "Log lines for people (console) or for programs (json).", "console on a terminal, json otherwise"),
    Setting("log_level", "info", read.choice("debug", "info", "warning", "error"), "The least important log line to write."),
)
# fmt: on

BY_NAME = {setting.name: setting for setting in SETTINGS}
BARE = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url", "PORT": "port"}
