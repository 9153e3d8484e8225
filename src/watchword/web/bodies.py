"""Request bodies: counted while read, decoded strictly, then given the route's type.

Strict: UTF-8, no name twice at any level, no lone surrogates, no NaN, so two readers see the same. Bounded: 64 KiB, 16
levels, 64 names per object, strings of 4 KiB (checklist J1, J2). A field that is any object has bounds of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from watchword import strict_json
from watchword.errors import Refused

MAX_BODY = 64 * 1024  # bytes
MAX_DEPTH = 16
_BOUNDS = strict_json.Bounds(names=64, letters=4096, integer=2**63 - 1)
_OBJECTS = _BOUNDS._replace(names=MAX_BODY)
_MAX_DIGITS = 20  # of a Content-Length

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"


class ClientGone(Exception):
    """The client hung up before its request was complete."""


def check_media_type(headers: Headers, wanted: bytes) -> None:
    """Refuse any other media type, charset or encoding.

    :raises Refused: `unsupported_media_type`.
    """
    value = headers.get(b"content-type")
    if b"content-encoding" in headers and headers[b"content-encoding"] != b"identity":
        raise Refused("Send the body uncompressed.", code="unsupported_media_type")
    if value == wanted:
        return
    if value is None or not _is(value, wanted):
        raise Refused(f"Send the body as `Content-Type: {wanted.decode()}`.", code="unsupported_media_type")


def _is(value: bytes, wanted: bytes) -> bool:
    kind, _, parameters = value.partition(b";")
    if kind.strip(b" \t").lower() != wanted:
        return False
    for parameter in parameters.split(b";"):
        name, _, content = parameter.strip(b" \t").lower().partition(b"=")
        if name == b"charset" and content.strip(b'"') not in (b"utf-8", b"utf8"):
            return False
    return True


def has_body(headers: Headers) -> bool:
    """Tell whether a body follows (RFC 9112 section 6)."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


async def read_body(receive: Receive, headers: Headers) -> bytes:
    """Return the whole body, at most 64 KiB, whatever Content-Length says.

    :raises Refused: `body_too_large`.
    :raises ClientGone: when the client hung up.
    """
    check_length(headers)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= MAX_BODY:
        return body
    return await _read_on(receive, body, more=message.get("more_body", False))


async def _read_on(receive: Receive, first: bytes, *, more: bool) -> bytes:
    whole = bytearray(first)
    while True:
        if len(whole) > MAX_BODY:
            raise Refused("The body is larger than 65,536 bytes.", code="body_too_large")
        if not more:
            return bytes(whole)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        whole += message.get("body", b"")
        more = message.get("more_body", False)


def check_length(headers: Headers) -> None:
    """Refuse an announced length that is too large, before reading a byte.

    :raises Refused: `body_too_large` or `malformed_request`.
    """
    declared = headers.get(b"content-length")
    if declared is None:
        return
    if not declared.isdigit():
        raise Refused("Content-Length is not a number.", code="malformed_request")
    if len(declared) > _MAX_DIGITS or int(declared) > MAX_BODY:
        raise Refused("The body is larger than 65,536 bytes.", code="body_too_large")


def decode_json(body: bytes, *, with_objects: bool = False) -> Any:
    """Return one JSON value, read strictly.

    :param with_objects: a field is any object, which may have many names.
    :raises Refused: `malformed_json`, with the fault but never the text.
    """
    if not body:
        raise Refused("The body is empty; send a JSON object.", code="malformed_json")
    try:
        return strict_json.read_bounded(body, max_depth=MAX_DEPTH, bounds=_OBJECTS if with_objects else _BOUNDS)
    except strict_json.NotStrict as error:
        raise Refused(str(error), code="malformed_json") from None
