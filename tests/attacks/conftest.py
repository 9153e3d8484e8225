"""Fixtures: the service in this process, for attacks over HTTP."""

from __future__ import annotations

from tests.features.conftest import api

__all__ = ["api"]
