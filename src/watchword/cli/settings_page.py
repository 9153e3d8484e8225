"""`python -m watchword.cli.settings_page`: prints `docs/reference/settings.md`, made from the table of settings."""

from __future__ import annotations

from watchword.cli.exits import CODES_HELP
from watchword.settings.table import SETTINGS, Setting

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
Secrets have no flag, since every user of a machine can read its command lines. Each is also read from a file:
`WATCHWORD_SECRET_FILE`, `--secret-file`, `secret_file = "…"`. A file that every user can read is refused. A name that
begins with `WATCHWORD_` and is no setting is refused too, since it is most likely a slip of the pen.

An application that mounts Watchword passes `Settings(port=4100, access_lifetime="5m")`, which reads no environment.

| setting | default | for |
|---|---|---|
"""
_END = f"""
{CODES_HELP}
"""


def page() -> str:
    """The page's text."""
    return _INTRODUCTION + "".join(_row(setting) for setting in SETTINGS) + _END


def _row(setting: Setting) -> str:
    name = f"`{setting.variable}`" + (" (`_FILE`)" if setting.secret else "")
    default = f"`{setting.default}`" if setting.default else setting.otherwise
    return f"| {name} | {default} | {setting.purpose} |\n"


if __name__ == "__main__":
    print(page(), end="")
