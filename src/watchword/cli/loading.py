"""Loads settings for a command from flags, environment and files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from watchword.cli.exits import warn
from watchword.settings import Loaded, load
from watchword.settings.table import SETTINGS

# Enough to open the database.
STORAGE = ("data_dir", "database_url", "secret")
_PANEL = "Settings (also WATCHWORD_…, .env, watchword.toml)"


def load_settings(flags: Mapping[str, object]) -> Loaded:
    """Return the settings, and print warnings. :raises SettingsError: with every fault."""
    loaded = load(flags, os.environ, Path.cwd())
    for warning in loaded.warnings:
        warn(f"{warning.setting} {warning.message}", warning.hint)
    return loaded


def takes_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command one flag for each of these settings, or for all. It receives them as `flags`.

    A secret has a flag for its file only: every user of the machine can read command lines.
    """
    chosen = [setting for setting in SETTINGS if not names or setting.name in names]
    parameters = []
    for setting in chosen:
        name = f"{setting.name}_file" if setting.secret else setting.name
        default = setting.otherwise if setting.secret else setting.default or setting.otherwise
        purpose = setting.purpose
        if setting.secret:
            purpose = f"File with the {purpose[0].lower()}{purpose[1:]}".replace("the the", "the")
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=f"{purpose} (default: {default})",
            rich_help_panel=_PANEL,
            show_default=False,
            metavar="FILE" if setting.secret else "VALUE",
        )
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    flag_names = {parameter.name for parameter in parameters}

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "flags"]

        def call(**given: Any) -> Any:
            flags = {name: given.pop(name) for name in flag_names}
            return command(**given, flags=flags)

        call.__name__ = command.__name__
        call.__doc__ = command.__doc__
        call.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in (*own, *parameters)}
        return call

    return wrap
