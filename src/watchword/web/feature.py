"""A feature's declaration."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.web.route import Route


@dataclass(frozen=True, slots=True)
class Feature:
    """One capability: its name (also of its directories) and routes."""

    name: str
    routes: tuple[Route, ...]
    about: str = ""  # one sentence
    password_flow: str | None = None  # token endpoint's path, for OAuth's password grant
