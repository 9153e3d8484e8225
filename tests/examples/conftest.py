"""Fixtures: the service as a process of its own, and the examples in front of it."""

from __future__ import annotations

from tests.e2e.fixtures import client, serve, server

__all__ = ["client", "serve", "server"]
