"""Prints `docs/reference/settings.md` from the table of settings."""

from __future__ import annotations

from typing import Any

from watchword.cli.exits import CODES_HELP
from watchword.settings.row import Setting
from watchword.settings.table import SETTINGS

_INTRODUCTION = """\
# Settings

<!-- Made from the code by `make docs`. Change src/watchword/settings/table.py, not this page. -->

`watchword settings` prints every setting with its value, secrets masked, and where the value came from. What is wrong
is reported all at once, each fault with a hint.

A value is taken from the first of these that has one; an empty value counts as none:

1. the command line: `watchword serve --port 4100 --data-dir DIR`
2. the environment: `WATCHWORD_PORT=4100`
3. the file `.env` in the working directory: `WATCHWORD_PORT=4100`
4. bare `DATABASE_URL`, `REDIS_URL` and `PORT`, as hosting platforms set them, in the environment or `.env`
5. the file `watchword.toml` in the working directory: `port = 4100`
6. the default

Durations are whole seconds or `30s`, `15m`, `12h`, `7d`; limits are `10/15m` or `off`; switches are `on` or `off`.
A number without a unit is seconds. Where that is far shorter than the default, a line warns when the service starts:
`WATCHWORD_ACCESS_LIFETIME=15` is 15 seconds, and most often minutes were meant.
Secrets have no flag, since every user of a machine can read its command lines. Each is also read from a file, and so
is a URL that may hold a password (`_FILE` in the table): `WATCHWORD_SECRET_FILE`, `secret_file = "…"`, for a secret
`--secret-file` too. Such a file is refused when another user could replace it, and warned about when every user can
read it.

In `.env` a comment begins at ` #`. A value that has this in it stands in single quotes, such as
`WATCHWORD_PAGES_NAME='Shop # 1'`. Where what follows a secret could be its end, a line warns at the start.

`off` stands for "not given" where a setting has no default, and wins over weaker sources: `WATCHWORD_DATABASE_URL=off`
passes over a bare `DATABASE_URL`. White space, line breaks and a byte-order mark around a value are no part of it.
Quotes that are left around it are refused, and so is a placeholder such as `${X}`.

Passed over with one line: what Kubernetes makes for a Service called `watchword`, other names that no setting has, and
a bare variable that is another program's. A slip of the pen, such as `WATCHWORD_PROT`, is refused.

An application that mounts Watchword passes `Settings(port=4100, access_lifetime="5m")`, which reads no environment.

| setting | default | for |
|---|---|---|
"""
_END = f"""
{CODES_HELP}
"""


def page() -> str:
    """Return the page's text."""
    return _INTRODUCTION + "".join(_row(setting) for setting in SETTINGS) + _END


def _row(setting: Setting[Any]) -> str:
    name = f"`{setting.variable}`" + (" (`_FILE`)" if setting.in_file else "")
    default = f"`{setting.default}`" if setting.default else setting.otherwise
    return f"| {name} | {default} | {setting.purpose} |\n"


if __name__ == "__main__":
    print(page(), end="")
