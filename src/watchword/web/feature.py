"""What a feature declares to the application. `app.py` puts these side by side; features do not know each other."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.web.route import Route


@dataclass(frozen=True, slots=True)
class Feature:
    """One capability: its name (the same in `features/`, `tests/features/` and `docs/features/`) and its routes."""

    name: str
    routes: tuple[Route, ...]
    about: str = ""  # one sentence, for the documentation
    password_flow: str | None = None  # path of the token endpoint, where it takes OAuth's password grant
