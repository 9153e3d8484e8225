"""`watchword doctor`: whether a deployment is what its operator thinks it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.doctor.findings import Finding, Outcome
from watchword.cli.exits import FAULT, OK, USAGE, CommandError
from watchword.cli.health import parsed
from watchword.cli.loading import takes_settings
from watchword.cli.printing import Json
from watchword.errors import SettingsError

if TYPE_CHECKING:
    from watchword.settings import Loaded
    from watchword.tokens.keys import SigningKey

_UNUSABLE = "The service does not start with settings that cannot be used."


@takes_settings("data_dir", "database_url", "secret", "jwt_secret", "public_url")
def doctor(
    *,
    url: Annotated[
        str | None,
        typer.Argument(help="Where clients reach the service; else the public URL of the settings.", metavar="URL"),
    ] = None,
    account: Annotated[
        str,
        typer.Option(
            help="File with an account to use, name and password on two lines; - for standard input. Else one is made"
            " and deleted.",
            metavar="FILE",
        ),
    ] = "",
    backups: Annotated[Path | None, typer.Option(help="Directory where backups are.", metavar="DIR")] = None,
    outside: Annotated[bool, typer.Option("--outside", help="Only attack; look at no settings.")] = False,
    inside: Annotated[bool, typer.Option("--inside", help="Only look at the settings and what they name.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> int:
    """Look at the settings from inside and attack the running service from outside: your own only.

    It exits with 0 when nothing failed, with 1 when something did, and with 2 for wrong usage.
    """
    from watchword.cli.doctor import account as accounts
    from watchword.cli.doctor import report, rounds  # here: they load the kernel

    if outside and inside:
        raise CommandError("--outside and --inside exclude each other", "give one of the two, or none", USAGE)
    place = None if url is None else parsed(url.rstrip("/"))
    given = accounts.read(account) if account else None
    found: list[Finding] = []

    def told(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            report.show(finding)

    loaded = None if outside else _loaded(flags, told, needed=place is None or inside)
    if place is None and loaded is not None:
        place = parsed(loaded.settings.public_url)
    signing = _looked(loaded, backups, told)
    if place is not None and not inside:
        issuer = "" if loaded is None else loaded.settings.public_url
        rounds.attack(place, given, signing, told, issuer=issuer)
    if as_json:
        report.as_json(None if place is None or inside else place.geturl(), found)
    else:
        report.show_end(found)
    bad = {Outcome.FAIL, Outcome.WARN} if strict else {Outcome.FAIL}
    return FAULT if any(each.outcome in bad for each in found) else OK


def _loaded(flags: dict[str, object], told: Callable[[Finding], None], *, needed: bool) -> Loaded | None:
    """Return the settings, if there are any here. Their faults are findings.

    :param needed: without them there is nothing to do.
    :raises CommandError: they are needed, and there are none.
    """
    from watchword.cli.doctor.inside import has_database
    from watchword.settings import load

    try:
        loaded = load(flags, os.environ, Path.cwd())
    except SettingsError as error:
        for fault in error.faults:
            told(Finding("settings", Outcome.FAIL, f"{fault.setting} {fault.message}", _UNUSABLE, fault.hint))
        return None
    if has_database(loaded.settings) or any(origin != "default" for origin in loaded.origins.values()):
        return loaded
    if needed:
        hint = "give the URL of the service, or run this where the service runs"
        raise CommandError("there are no settings here, and no database", hint, USAGE)
    told(Finding("settings", Outcome.SKIP, "there are none here: only the outside is looked at", "", ""))
    return None


def _looked(loaded: Loaded | None, backups: Path | None, told: Callable[[Finding], None]) -> SigningKey | None:
    from watchword.cli.doctor import rounds

    return None if loaded is None else asyncio.run(rounds.examine(loaded, backups, told))
