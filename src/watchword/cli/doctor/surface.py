"""What the deployment shows to anyone: TLS, headers, documentation, numbers, and how much it reads."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import SplitResult

from watchword.cli.doctor.findings import Outcome, Seen, failed, passed, skipped, warned
from watchword.cli.doctor.visit import FOREIGN, Visit, origin_of
from watchword.cli.doctor.wire import Answer, NoAnswer, Wire
from watchword.clock import SystemClock

_YEAR = 31_536_000
_HOUR = 3600
_DAY = 24 * _HOUR
_SOON = 14 * _DAY
_HTTPS_PORT = 443
_LARGE = 262_144
_PIECE = 16_384
_OFF, _FAR_OFF = 5, 60  # seconds
_MAX_AGE = re.compile(r"max-age=\"?(\d{1,12})", re.IGNORECASE)
_GOOD_TLS = frozenset({"TLSv1.2", "TLSv1.3"})


def tls(visit: Visit) -> Seen:
    """Look at the scheme, the certificate, and what plain http answers."""
    if not visit.wire.secure:
        if visit.on_loopback:
            return passed("plain http, on an address that only this machine reaches")
        return failed("passwords and tokens go over plain http, which everyone on the way reads and changes")
    visit.wire.ask("GET", "/livez")
    if visit.wire.version not in _GOOD_TLS:
        return failed(f"the connection is {visit.wire.version}")
    left = ssl.cert_time_to_seconds(str(visit.wire.certificate["notAfter"])) - SystemClock().now()
    seen = judged_certificate(left, visit.wire.version)
    plain = _plain_http(visit) if seen.outcome is Outcome.PASS else ""
    return failed(plain) if plain else seen


def judged_certificate(left: int, version: str) -> Seen:
    """Judge for how many seconds a certificate is still trusted. In its last two days it tells hours."""
    unit, size = ("days", _DAY) if left >= 2 * _DAY else ("hours", _HOUR)
    span = f"{left // size} {unit}" if left >= 2 * size else "less than two hours"
    if left < _SOON:
        return warned(f"{version}; the certificate expires in {span}", "renew the certificate")
    return passed(f"{version}; the certificate is trusted for {span} more")


def _plain_http(visit: Visit) -> str:
    """Return what is wrong with port 80, or ''. A service on a port of its own has none."""
    place = visit.wire.place
    if place.port not in {None, _HTTPS_PORT}:
        return ""
    host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname or ""
    return plain_http(SplitResult("http", host, place.path, "", ""))


def plain_http(place: SplitResult) -> str:
    """Return what is wrong with how plain http is answered, or ''. No answer is well too."""
    try:
        answer = Wire(place, most=1).ask("GET", "/livez")
    except NoAnswer:
        return ""
    if answer.header("location").startswith("https://"):
        return ""
    return f"plain http is answered with {answer.status} in place of a redirection to https"


def headers(visit: Visit) -> Seen:
    """Look at the security headers of an answer and of the front page."""
    answer = visit.wire.ask("GET", "/profile")
    page = visit.wire.ask("GET", "/", headers=(("Accept", "text/html"),))
    missing = [f"{what} (/profile)" for what in _missing(answer, https=visit.wire.secure)]
    missing += [f"{what} (/)" for what in _missing(page, https=visit.wire.secure) if page.ok and what != "no-store"]
    if missing:
        return failed(f"without {', '.join(missing)}")
    server = answer.header("server")
    if re.search(r"\d", server):
        return warned(
            f"the header Server tells a version: {server[:60]}",
            "let the proxy leave it out: `server_tokens off` in nginx",
        )
    return passed(
        "nosniff, Referrer-Policy, Content-Security-Policy, no-store" + (", HSTS" if visit.wire.secure else "")
    )


def _missing(answer: Answer, *, https: bool) -> list[str]:
    policy = answer.header("content-security-policy")
    age = _MAX_AGE.search(answer.header("strict-transport-security"))
    wanted = {
        "X-Content-Type-Options: nosniff": answer.header("x-content-type-options").lower() == "nosniff",
        "Referrer-Policy": "no-referrer" in answer.header("referrer-policy"),
        "Content-Security-Policy with frame-ancestors": "frame-ancestors 'none'" in policy,
        "no-store": "no-store" in answer.header("cache-control"),
        "HSTS of a year": not https or (age is not None and int(age[1]) >= _YEAR),
    }
    return [what for what, there in wanted.items() if not there]


def bodies(visit: Visit) -> Seen:
    """Send a body of 256 KiB, once with its length and once in pieces."""
    whole = b'{"username":"doctor","password":"' + b"a" * _LARGE + b'"}'
    pieces = [whole[start : start + _PIECE] for start in range(0, len(whole), _PIECE)]
    read = []
    for how, raw in (("with its length", whole), ("in chunks", pieces)):
        try:
            answer = visit.wire.ask("POST", "/login", headers=(("Content-Type", "application/json"),), raw=raw)
        except NoAnswer:
            continue  # cut off, which is well too
        if answer.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            read.append(f"{how}: {answer.said}")
    if read:
        return failed(f"a body of 256 KiB was read ({'; '.join(read)})")
    return passed("a body of 256 KiB is refused, with its length and in chunks")


def documentation(visit: Visit) -> Seen:
    """Look whether the API documentation is shown."""
    shown = [path for path in ("/docs", "/openapi.json") if visit.wire.ask("GET", path).ok]
    if not shown:
        return passed("/docs and /openapi.json are not shown")
    if visit.on_loopback:
        return passed(f"{' and '.join(shown)}, on an address that only this machine reaches")
    return warned(f"{' and '.join(shown)} are shown to everyone, with the version")


def metrics(visit: Visit) -> Seen:
    """Look whether the numbers for Prometheus are shown."""
    places = [("/metrics", True)] + ([("/metrics", False)] if visit.wire.place.path else [])
    for path, root in places:
        answer = visit.wire.ask("GET", path, root=root)
        if answer.ok and b"# TYPE " in answer.body:
            return failed(f"anyone reads them at {origin_of(visit.wire.place.geturl())}{path}")
    return passed("/metrics is not shown here")


def host(visit: Visit) -> Seen:
    """Claim another host, and look whether documents or links follow it."""
    name = FOREIGN.removeprefix("https://")
    claims = (("X-Forwarded-Host", name), ("X-Forwarded-Proto", "http"), ("Forwarded", f"host={name};proto=http"))
    answer = visit.wire.ask("GET", "/.well-known/openid-configuration", headers=claims)
    if name.encode() in answer.body or (answer.ok and answer.json().get("issuer") != visit.issuer):
        return failed("the addresses in the metadata follow X-Forwarded-Host: links in mails may do so too")
    return passed("X-Forwarded-Host, X-Forwarded-Proto and Forwarded change no address")


def clock(visit: Visit) -> Seen:
    """Compare the service's clock with ours."""
    text = visit.wire.ask("GET", "/livez").header("date")
    told: float | None = None
    with suppress(ValueError):
        told = parsedate_to_datetime(text).timestamp()
    if told is None:
        return skipped("the answer has no Date")
    return judged_clock(told - SystemClock().now(), "the service's")


def judged_clock(ahead: float, whose: str) -> Seen:
    """Judge how far two clocks are apart, in seconds."""
    if abs(ahead) <= _OFF:
        return passed(f"{whose} clock and ours agree within {_OFF} s")
    side = "ahead of" if ahead > 0 else "behind"
    text = f"{whose} clock is {abs(ahead):.0f} s {side} ours"
    return failed(text) if abs(ahead) > _FAR_OFF else warned(text)
