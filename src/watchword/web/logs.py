"""Logging without secrets, whatever code writes the line (checklist J8, ASVS 16.2.5).

Every line, also of libraries, passes the same processors. Redaction is the last before rendering, so nothing is added
after it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from hashlib import sha256
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from watchword.platforms import is_journal

REDACTED = "[redacted]"
_MAX_TEXT = 20_000  # characters of one value
_MAX_NESTING = 8

# A key with one of these words hides its value.
_SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "api_key",
    "apikey",
    "private",
    "jwt",
    "otp",
    "signature",
)
# A token becomes the start of its hash, so that it can be recognised. The id of a service account is no secret.
_ACCOUNT = r"wwc_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![A-Za-z0-9_-])"
_TOKEN = re.compile(
    rf"eyJ[A-Za-z0-9_-]{{8,}}(?:\.[A-Za-z0-9_-]*){{0,4}}|\b(?!{_ACCOUNT})ww[a-z]{{1,3}}_[A-Za-z0-9_-]{{8,}}"
)
_HASH = re.compile(r"\$argon2[a-z]{1,2}\$\S+|\$2[abxy]\$\d\d\$\S{20,}|\b(?:pbkdf2_sha256|pbkdf2_sha1|scrypt)\$\S+")
_SCHEME = re.compile(r"(?i)\b(bearer|basic|dpop) [A-Za-z0-9._~+/=-]{4,}")
_USERINFO = re.compile(r"(://[^\s/:@]*):[^\s/@]+@")
_PARAMETER = re.compile(
    r"(?i)((?:password|passwd|secret|token|cookie|refresh)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)[^\s&\"',;}]+"
)
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?")


def configure_logging(*, json: bool, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging for the process.

    :param json: one JSON object per line; otherwise lines for people.
    :param level: the least level.
    :param stream: standard error by default. Where that is systemd's journal, each line begins with its level.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,  # without local variables
            redact,
            structlog.processors.JSONRenderer() if json else _render_line,
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JournalFormatter(formatter) if is_journal(handler.stream) else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    _adopt_uvicorn()


class _JournalFormatter(logging.Formatter):
    """Begins lines with `<4>` and the like (sd-daemon(3)), so that `journalctl --priority` knows them.

    The journal takes the mark off, so JSON stays JSON. It reads line by line, so each of a traceback has one.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines, marked."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))


def _adopt_uvicorn() -> None:
    """Take over uvicorn's lines; its access log stays off (start it with `log_config=None`)."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers[:] = []
    access.propagate = False  # without handlers uvicorn does not even build the line


def redact(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> EventDict:
    """Redact possible secrets, and line breaks. A structlog processor."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: str, value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    lowered = key.lower()
    if any(word in lowered for word in _SECRET_WORDS):
        return REDACTED
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return _clean_text(value, lines=key in ("exception", "stack"))
    if isinstance(value, (bytes, bytearray)):
        return _clean_text(bytes(value).decode("latin-1"))
    if isinstance(value, BaseException):
        return _clean_text(f"{type(value).__name__}: {value}")
    if depth < _MAX_NESTING and isinstance(value, Mapping):
        return {str(name): _clean(str(name), one, depth + 1) for name, one in value.items()}
    if depth < _MAX_NESTING and isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(key, one, depth + 1) for one in value]
    return f"<{type(value).__name__}>"  # a repr could reveal anything, even a password


def _clean_text(text: str, *, lines: bool = False) -> str:
    text = text[:_MAX_TEXT]
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _TOKEN.sub(_shortened, text)
    text = _HASH.sub(REDACTED, text)
    text = _SCHEME.sub(rf"\1 {REDACTED}", text)
    text = _USERINFO.sub(rf"\1:{REDACTED}@", text)
    text = _PARAMETER.sub(rf"\1{REDACTED}", text)
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else _escaped(letter) for letter in text)


def _shortened(found: re.Match[str]) -> str:
    return f"[token {sha256(found[0].encode()).hexdigest()[:8]}]"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _render_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return a line for people: time, level, event, details; a traceback below."""
    event = dict(event)
    stamp, level, what = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    tail = "\n".join(str(event.pop(key)) for key in ("exception", "stack") if event.get(key))
    details = " ".join(f"{key}={value!r}" for key, value in sorted(event.items()))
    line = f"{stamp} {level:<8} {what}" + (f"  {details}" if details else "")
    # Indented: no line of a message passes for one of the log.
    return line + "".join(f"\n    | {one}" for one in tail.splitlines())
