"""Runs the service: `watchword serve`."""

from __future__ import annotations

from watchword.cli.loading import load_settings, takes_settings


@takes_settings()
def serve(*, flags: dict[str, object]) -> None:
    """Run the service. With nothing set: SQLite in ./watchword-data, http://127.0.0.1:4000."""
    from watchword.cli.serving.start import start

    start(load_settings(flags), flags)
