"""A feature's declaration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from watchword.identity.known_devices import Shown
from watchword.identity.showing import Press
from watchword.web.route import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What the page behind a link says, and what its button does. The texts are translated.

    :param purposes: of the links that lead to it, as in `one_time.LIFETIMES`.
    :param asks: what the page asks for: a password to set, or the password that there is, which may be left out.
    :param asks_username: the page also asks for the name of a new account.
    :param act: does it; returns who has shown to be a user by it, if that is what it means. Raises `WatchwordError`.
    """

    purposes: tuple[str, ...]
    title: str
    about: str
    button: str
    done: str
    act: Callable[[Press], Awaitable[Shown | None]]
    asks: Literal["", "new_password", "password"] = ""
    asks_username: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """One capability: its name (also of its directories) and routes."""

    name: str
    routes: tuple[Route, ...]
    about: str = ""  # one sentence
    password_flow: str | None = None  # token endpoint's path, for OAuth's password grant
    links: tuple[Link, ...] = ()  # what links do
