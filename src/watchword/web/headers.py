"""The headers of every answer (checklist C3, C11), built once per route."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from watchword.web.route import Header

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
_CLOSED = b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = b"default-src 'none'; " + _CLOSED
# Swagger UI; `script-src 'self'` stops injected scripts.
DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " + _CLOSED
)
NO_STORE: Header = (b"cache-control", b"no-store")
_HSTS: Header = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")  # two years; ASVS 3.4.1 asks one


def default_headers(media_type: str, *, https: bool) -> tuple[Header, ...]:
    """Return a media type's headers; a handler's own replace them.

    :param https: add HSTS.
    """
    headers: list[Header] = [
        NO_STORE,
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if media_type.startswith("text/html"):
        headers += [
            (b"content-security-policy", PAGE_POLICY),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
    else:
        headers.append((b"content-security-policy", API_POLICY))
    if https:
        headers.append(_HSTS)
    return tuple(headers)


def styled_page_policy(style: str) -> Header:
    """Return the policy of a page with exactly this `<style>`; icons, no script."""
    digest = b64encode(sha256(style.encode()).digest())
    return b"content-security-policy", b"default-src 'none'; style-src 'sha256-%b'; img-src 'self'; %b" % (
        digest,
        _CLOSED,
    )


def public_for(seconds: int) -> Header:
    """Return `Cache-Control` for a public document."""
    return b"cache-control", b"public, max-age=%d" % seconds


def overlaid(defaults: tuple[Header, ...], own: tuple[Header, ...]) -> list[Header]:
    """Return the defaults, replaced by name."""
    names = {name for name, _ in own}
    return [*(header for header in defaults if header[0] not in names), *own]
