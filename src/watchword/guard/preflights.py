"""Says which line to move where a guard refuses a CORS preflight."""

from __future__ import annotations

from typing import Final

_REFUSED: Final = (
    "guard: refused a CORS preflight for %r, which carries no token: the guard stands outside of the CORS middleware, "
    "or there is none. %s"
)
AROUND: Final = "Put the CORS middleware around the guard: `app = CORSMiddleware(GuardMiddleware(app, guard), …)`."


class Preflights:
    """Logs the first preflight that a guard refuses."""

    def __init__(self) -> None:
        self.seen = False

    def log(self, path: str, line: str = AROUND) -> None:
        """Log once."""
        if self.seen:
            return
        self.seen = True
        import logging  # slow to import

        logging.getLogger("watchword.guard").warning(_REFUSED, path[:100], line)
