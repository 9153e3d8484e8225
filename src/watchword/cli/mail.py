"""Tries, shows and repeats mail: `watchword mail`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.exits import CODES_HELP, FAULT, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import with_kernel
from watchword.cli.printing import Json, fields, print_json, print_table

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.outbox import Failed
    from watchword.mail.message import Mail
    from watchword.settings import Settings

MAIL = ("public_url", "smtp_url", "mail_from", "mail_templates")
group = typer.Typer(help="Mail: try it, look at it, send again what failed.", epilog=CODES_HELP, no_args_is_help=True)

Language = Annotated[str, typer.Option(help="Language, such as de.")]


@group.command("test", epilog=CODES_HELP)
@takes_settings(*MAIL)
def try_server(
    *,
    address: Annotated[str, typer.Argument(help="Where to send a mail to.")],
    language: Language = "en",
    flags: dict[str, object],
) -> None:
    """Send one mail now, and say what the mail server answered."""
    import asyncio

    from watchword.mail.sending import Smtp

    settings = load_settings(flags).settings
    if settings.smtp_url is None:
        hint = "set WATCHWORD_SMTP_URL and WATCHWORD_MAIL_FROM; `watchword mail preview` shows mails without one"
        raise CommandError("there is no mail server in the settings", hint, USAGE)
    mail = _composed(settings, "test", language, _recipient(address, settings))
    (outcome,) = asyncio.run(Smtp(settings.smtp_url, settings.mail_from or "").send([mail]))
    if outcome is not None:
        raise CommandError(f"the mail was not taken: {outcome.message}", _SERVER, FAULT)
    print(f"The mail server took a mail to {mail.recipient}.")


@group.command(epilog=CODES_HELP)
@takes_settings(*MAIL)
def preview(
    *,
    name: Annotated[str, typer.Argument(help="Name of a mail, such as reset_password.")],
    language: Language = "en",
    html: Annotated[bool, typer.Option("--html", help="Print the HTML instead of the text.")] = False,
    flags: dict[str, object],
) -> None:
    """Print a mail as it would be sent, with examples in it."""
    from watchword.mail.templates import SAMPLES

    if name not in SAMPLES:
        raise CommandError(f"there is no mail called {name!a}", f"there are: {', '.join(sorted(SAMPLES))}", MISSING)
    mail = _composed(load_settings(flags).settings, name, language, "you@example.com")
    print(mail.html if html else f"Subject: {mail.subject}\n\n{mail.text}", end="")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def failed(
    *,
    retry: Annotated[str, typer.Option("--retry", metavar="ID", help="Send this one again.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Send all of them again.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """List mails that were given up, or send them again. A mail whose link has expired stays where it is."""
    if retry and every:
        raise CommandError("--retry and --all exclude each other", "give one of the two", USAGE)

    async def work(kernel: Kernel) -> tuple[list[Failed], int]:
        again = await kernel.outbox.retry(retry or None) if retry or every else 0
        return await kernel.outbox.failed(), again

    found, again = with_kernel(load_settings(flags).settings, work)
    if retry and not again:
        raise CommandError(f"no mail {retry!a} can be sent again", "`watchword mail failed` lists them", MISSING)
    if as_json:
        print_json({"items": [fields(each) for each in found], "sent_again": again})
        return
    if retry or every:
        print(f"{again} will be sent again by the service.")
        return
    heads = ("id", "mail", "to", "given up", "tries", "why")
    print_table(heads, [_row(each) for each in found])
    if found:
        sys.stderr.write("hint: `watchword mail failed --retry ID` sends one again, --all all of them\n")


def _row(each: Failed) -> tuple[str, ...]:
    from watchword.clock import rfc3339

    to = each.recipient or "(found when sent)"
    return each.id, each.template, to, rfc3339(each.failed_at), str(each.tries), each.fault or ""


def _recipient(address: str, settings: Settings) -> str:
    from watchword.identity import identifiers

    return identifiers.mailbox(identifiers.email(address, private=settings.private_email).text)


_SERVER = "check WATCHWORD_SMTP_URL; a relay without TLS needs ?starttls=off, TLS from the start is smtps://"


def _composed(settings: Settings, name: str, language: str, recipient: str) -> Mail:
    from watchword.clock import SystemClock
    from watchword.ids import new_id
    from watchword.mail.message import Mail
    from watchword.mail.templates import Templates

    templates = Templates(settings.mail_templates)
    if language not in templates.languages:
        raise CommandError(
            f"there is no language {language!a}", f"there are: {', '.join(templates.languages)}", MISSING
        )
    said = templates.preview(name, language, service=settings.pages_name)
    return Mail(new_id(), recipient, *said, at=SystemClock().now())
