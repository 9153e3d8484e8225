"""Asks a running service whether it can serve: `watchword health`, for containers, units and scripts."""

from __future__ import annotations

import http.client
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated
from urllib.parse import SplitResult, urlsplit

import typer

from watchword.cli.exits import USAGE, CommandError
from watchword.cli.loading import takes_settings
from watchword.clock import monotonic

if TYPE_CHECKING:
    from watchword.settings import Settings

_ANSWER_SECONDS = 5.0  # the service itself gives up after less
_PAUSE_SECONDS = 0.2
_MOST_BYTES = 16_384
_PLAIN = re.compile(r"[!-~]+")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to ask in place of "all of them"


@takes_settings("host", "port", "path_prefix")
def health(
    *,
    url: Annotated[
        str | None,
        typer.Argument(help="Where the service answers, path included; else where the settings say.", metavar="URL"),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask only whether the process lives.")] = False,
    wait: Annotated[
        str, typer.Option(help="How long to ask again while the answer is no: 5s, 1m, or seconds; at most 1h.")
    ] = "0",
    flags: dict[str, object],
) -> None:
    """Exit with 0 if the service can serve, with 1 if not. It opens no database and follows no proxy."""
    until = monotonic() + _seconds(wait)
    if url:
        url, live = _base(url, live=live)
    place = parsed(url + ("/livez" if live else "/readyz")) if url else _own(flags, live=live)
    while (trouble := _trouble(place)) is not None:
        if monotonic() + _PAUSE_SECONDS > until:
            raise CommandError(f"{place.geturl()}: {trouble}", "look at the log of the service")
        time.sleep(_PAUSE_SECONDS)
    print("alive" if live else "ready")


def _seconds(wait: str) -> float:
    from watchword.settings.values import HOUR, Unfit, duration

    try:
        return duration(0, HOUR)(wait).total_seconds()
    except Unfit:
        raise CommandError(f"--wait {wait!a} is no such time", "write 5s, 1m or 30; at most 1h", USAGE) from None


def _base(url: str, *, live: bool) -> tuple[str, bool]:
    """Return the service's URL of one that may name the question already, and whether that is `/livez`."""
    url = url.rstrip("/")
    asked = url.rpartition("/")[2]
    if asked in {"readyz", "livez"}:
        url = url.removesuffix(f"/{asked}")
    return url, live or asked == "livez"


def _own(flags: dict[str, object], *, live: bool) -> SplitResult:
    """Return where a service with these settings answers on this machine."""
    import os
    from pathlib import Path

    from watchword.settings import load

    # Without their warnings: this runs every few seconds, and `serve` has given them.
    settings: Settings = load(flags, os.environ, Path.cwd()).settings
    host = _EVERYWHERE.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return parsed(f"http://{host}:{settings.port}{settings.path_prefix}/{'livez' if live else 'readyz'}")


def parsed(url: str) -> SplitResult:
    """Split a URL. :raises CommandError: it is none of http or https."""
    place = SplitResult("", "", "", "", "")
    with suppress(ValueError):  # a port that is none
        split = urlsplit(url)
        if split.scheme in {"http", "https"} and split.hostname and split.port != 0 and _PLAIN.fullmatch(url):
            place = split
    if not place.scheme or place.username is not None or place.query:
        raise CommandError(f"{url!a} is no address to ask", "give one such as http://127.0.0.1:4000", USAGE)
    return place


def _trouble(place: SplitResult) -> str | None:
    """Ask once; return what is wrong, or None."""
    made = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = made(place.hostname or "", place.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", place.path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return f"no answer ({getattr(error, 'strerror', None) or str(error) or type(error).__name__})"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else f"status {answer.status}{_failing(body)}"


def _failing(body: bytes) -> str:
    """Name the checks that fail, if the answer is one of ours."""
    try:
        checks = json.loads(body)["checks"]
        failing = [str(name) for name, works in checks.items() if works is False]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return f", not in order: {', '.join(failing)}"
