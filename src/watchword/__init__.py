"""Watchword: authentication for Python APIs."""

__version__ = "0.1.0"
