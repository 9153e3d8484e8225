"""Prints every setting: `watchword settings`."""

from __future__ import annotations

from watchword.cli.loading import load_settings, takes_settings
from watchword.cli.printing import Json, print_json, print_table
from watchword.settings.table import SETTINGS


@takes_settings()
def settings(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """Show every setting, its value (secrets masked) and where it came from."""
    loaded = load_settings(flags)
    shown = loaded.settings.shown()
    if as_json:
        print_json(
            [
                {"name": s.name, "variable": s.variable, "value": shown[s.name], "from": loaded.origins[s.name]}
                for s in SETTINGS
            ]
        )
        return
    rows = []
    for setting in SETTINGS:
        value = shown[setting.name] or (setting.otherwise if setting.secret else "none")
        rows.append((setting.variable, value, loaded.origins[setting.name]))
    print_table(("setting", "value", "from"), rows)
