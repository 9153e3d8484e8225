"""What reads a request's body, by route: JSON, JSON or nothing, a form, or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from watchword.web import bodies
from watchword.web.forms import decode_form
from watchword.web.route import SAFE, Receive, Route
from watchword.web.shapes import converter, form_converter, holds_objects

BodyReader = Callable[[Receive, Mapping[bytes, bytes]], Awaitable[Any]]


def body_reader(route: Route) -> BodyReader | None:
    """Return what reads a request's body for this route; None if it may not have any."""
    assert route.body is None or route.form is None, f"{route.method} {route.path} has a body or a form, not both"
    if route.body is not None:
        decode = partial(bodies.decode_json, with_objects=holds_objects(route.body))
        return (_reader_of_some if route.may_be_empty else _json_reader)(decode, converter(route.body))
    if route.form is not None:
        return _form_reader(form_converter(route.form))
    return None if route.method in SAFE or route.method == "*" else _no_body


def _json_reader(decode: Callable[[bytes], Any], convert: Callable[[Any], Any]) -> BodyReader:
    async def read(receive: Receive, headers: Mapping[bytes, bytes]) -> Any:
        bodies.check_media_type(headers, bodies.JSON)
        return convert(decode(await bodies.read_body(receive, headers)))

    return read


def _reader_of_some(decode: Callable[[bytes], Any], convert: Callable[[Any], Any]) -> BodyReader:
    """Return a reader that gives None for an empty body. Clients name a type without one, and HTTP/2 has no length."""

    async def read(receive: Receive, headers: Mapping[bytes, bytes]) -> Any:
        if not bodies.has_body(headers) and b"content-type" not in headers:
            return None
        body = await bodies.read_body(receive, headers)
        if not body:
            return None
        bodies.check_media_type(headers, bodies.JSON)
        return convert(decode(body))

    return read


def _form_reader(convert: Callable[[dict[str, str]], Any]) -> BodyReader:
    async def read(receive: Receive, headers: Mapping[bytes, bytes]) -> Any:
        bodies.check_media_type(headers, bodies.FORM)
        return convert(decode_form(await bodies.read_body(receive, headers)))

    return read


async def _no_body(_: Receive, headers: Mapping[bytes, bytes]) -> None:
    """Compare an unwanted body with the limit; the server discards it."""
    bodies.check_length(headers)
