"""Runs `watchword serve`: ports, server, worker processes."""

from __future__ import annotations

import sys


def _load_structlog_alone() -> None:
    """Load structlog without rich, which it wants for coloured tracebacks only: a sixth of the work of a start."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # an import of it fails, and structlog goes on
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


_load_structlog_alone()
