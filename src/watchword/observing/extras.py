"""Imports what an extra installs, or says which extra is missing."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from watchword.errors import Fault, SettingsError


def prometheus(variable: str) -> ModuleType:
    """Return `watchword.observing.prometheus`.

    :param variable: the setting that asks for it.
    :raises SettingsError: prometheus-client is not installed.
    """
    return _imported("watchword.observing.prometheus", "prometheus_client", variable, ".[server,metrics]")


def opentelemetry(variable: str) -> ModuleType:
    """Return `watchword.observing.opentelemetry`.

    :param variable: as in `prometheus`.
    :raises SettingsError: the SDK of OpenTelemetry is not installed.
    """
    return _imported("watchword.observing.opentelemetry", "opentelemetry_sdk", variable, ".[server,otel]")


def _imported(module: str, package: str, variable: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(package.partition("_")[0]):
            raise
        hint = f"in your clone: {sys.executable} -m pip install -e '{install}'"
        raise SettingsError((Fault(variable, f"needs the package {package.replace('_', '-')}", hint),)) from None
