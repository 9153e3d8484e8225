"""Fixtures: the service as a process of its own."""

from __future__ import annotations

from tests.e2e.fixtures import server

__all__ = ["server"]
