"""The checks, in the order in which they run: one row each. A new check is written here only."""

from __future__ import annotations

from watchword.cli.doctor import browsers, configured, guessing, sessions, stored, surface, tokens
from watchword.cli.doctor.findings import Check
from watchword.cli.doctor.visit import Visit

# fmt: off
INSIDE: tuple[Check, ...] = (
    Check("settings", "A setting that is not read, or is read by others, is not what you think it is.", "docs/reference/settings.md", configured.settings),
    Check("files", "Anyone who reads the master secret and the database can sign tokens for every user.", "chmod 600 the file, chmod 700 its directory", configured.secret_files),
    Check("database", "Without it no one logs in; with an older schema the service does not start.", "WATCHWORD_DATABASE_URL or WATCHWORD_DATA_DIR", stored.database),
    Check("signing key", "A key that signs for ever can be stolen for ever.", "WATCHWORD_KEY_ROTATION; docs/guides/rotate-keys.md", stored.keys),
    Check("database clock", "Clocks that differ make new tokens invalid and old ones valid.", "set both clocks by a time server (timedatectl)", stored.clock),
    Check("connections", "A process that gets no connection answers 503.", "pool_size in WATCHWORD_DATABASE_URL, WATCHWORD_WORKERS, or max_connections of the server", stored.connections),
    Check("valkey", "A server that forgets counters forgets limits: guessing becomes free.", "maxmemory-policy noeviction: docs/guides/scale-out.md", stored.valkey),
    Check("mail", "Without mail, anyone who forgets a password is locked out.", "WATCHWORD_SMTP_URL and WATCHWORD_MAIL_FROM: docs/guides/mail.md", stored.mail),
    Check("disk", "On a full disk no one logs in.", "docs/guides/operate.md#the-disk-is-full", configured.disk),
    Check("backup", "A lost disk takes all accounts with it.", "watchword backup FILE, every day: docs/guides/operate.md#back-up", configured.backups),
    Check("proxies", "Anyone who may choose their own address has no limits; those who share one share its limits.", "WATCHWORD_TRUSTED_PROXIES", configured.proxies),
    Check("metrics port", "Numbers tell when an attack works.", "WATCHWORD_METRICS_HOST=127.0.0.1, or a network of its own", configured.metrics_port),
)

OUTSIDE: tuple[Check, ...] = (
    Check("service", "Everything else is asked of it.", "WATCHWORD_PUBLIC_URL; the log of the service says more", Visit.meets),
    Check("installation", "What is found there says nothing about the service of these settings, whose users may be elsewhere.", "see which program has the port or gets the proxy's requests, and WATCHWORD_DATA_DIR or WATCHWORD_DATABASE_URL here; no cache may keep the key set longer than five minutes", Visit.belongs),
    Check("tls", "On plain http a network between reads passwords and changes pages.", "docs/guides/internet.md; certificates of your own authority: SSL_CERT_FILE", surface.tls),
    Check("clock", "Clocks that differ make new tokens invalid and old ones valid.", "set both clocks by a time server (timedatectl)", surface.clock),
    Check("headers", "They keep browsers from framing, guessing types, keeping tokens and going back to http.", "let the proxy pass the service's headers: docs/guides/internet.md", surface.headers),
    Check("body limit", "A body without a limit fills the memory.", "let the proxy pass bodies unchanged, with a limit of 64 KiB: docs/guides/internet.md", surface.bodies),
    Check("documentation", "It helps a stranger to find what to attack.", "WATCHWORD_DOCS=off", surface.documentation),
    Check("metrics", "Numbers tell when an attack works.", "WATCHWORD_METRICS_PORT, on an address that the proxy does not pass on: docs/guides/metrics.md", surface.metrics),
    Check("host header", "A link in a mail that leads to an attacker's host gives the account away.", "WATCHWORD_PUBLIC_URL decides; let no proxy rewrite answers", surface.host),
    Check("registration", "Anyone can fill the database with accounts, and use what an account may use.", "WATCHWORD_REGISTRATION=closed or WATCHWORD_EMAIL_VERIFICATION=required", Visit.registers),
    Check("algorithm none", "Anyone can write a token for any user.", "verify with the guard, or with a list of allowed algorithms: docs/reference/tokens.md", tokens.unsigned),
    Check("algorithm confusion", "The public key is public: used as a shared secret, anyone can sign.", "verify with the guard, or with ES256 alone: docs/reference/tokens.md", tokens.confused),
    Check("known secret", "Secrets of tutorials are the first that are tried.", "WATCHWORD_JWT_SECRET: make one with `watchword secret`", tokens.guessed),
    Check("key in the token", "A token that brings its own key proves nothing.", "verify with the guard: docs/reference/tokens.md", tokens.self_signed),
    Check("expired token", "A stolen token works for ever.", "verify exp, aud and iss, or use the guard: docs/reference/tokens.md", tokens.expired),
    Check("cookie", "A script, another site or plain http gets at the session.", "let the proxy pass Set-Cookie unchanged; WATCHWORD_PUBLIC_URL begins with https", sessions.cookie),
    Check("origin rule", "A foreign page acts for its visitors.", "let the proxy pass Origin and Sec-Fetch-Site; WATCHWORD_ALLOWED_ORIGINS", browsers.origin_rule),
    Check("cors", "A foreign page reads what its visitors may read.", "take CORS headers out of the proxy; WATCHWORD_ALLOWED_ORIGINS", browsers.cors),
    Check("revoked token", "A log-out or a lock does not stop a thief.", "docs/features/revocations.md; the guard follows the feed", sessions.revoked),
    Check("refresh replay", "A copied refresh token lives beside the true one.", "docs/security/refresh.md; WATCHWORD_REFRESH_GRACE", sessions.replayed),
    Check("client address", "If all clients share one address, one of them uses up everyone's limits.", "WATCHWORD_TRUSTED_PROXIES; the proxy sets X-Forwarded-For: docs/guides/internet.md", guessing.counted_address),
    Check("login limit", "Passwords can be guessed without end.", "WATCHWORD_LOGIN_LIMIT", guessing.limited),
    Check("claimed address", "With a new address for each guess there is no limit.", "the proxy replaces X-Forwarded-For; WATCHWORD_TRUSTED_PROXIES is the true number: docs/guides/internet.md", guessing.spoofed),
    Check("enumeration", "Anyone can find out who has an account.", "let no proxy rewrite answers; docs/security/checklist.md, D7", guessing.enumerated),
)
# fmt: on
