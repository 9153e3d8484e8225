"""The sandbox that mails and pages are rendered in. No template can stop escaping, nor can an operator's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, cast

from jinja2 import BytecodeCache, FileSystemLoader, StrictUndefined, TemplateSyntaxError
from jinja2.bccache import Bucket
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watchword.languages import Catalogue

_LITERAL: Final = (("lparen", "string", "comma"), ("lparen", "string", "rparen"))
_TWO_LITERALS: Final = ("lparen", "string", "comma", "string", "comma")
_SAID: Final = "translated"


class _AlwaysEscapes(Extension):
    """Refuses what would make markup of what people type: `autoescape` and `safe`.

    Jinja takes what it translates for markup. That is right for a sentence in the template, `_("…")`, and wrong for a
    value: `_(value)` is made to escape.
    """

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """Called by Jinja with the tokens of each template."""
        return self._checked(stream, list(stream))

    def _checked(self, stream: TokenStream, tokens: Sequence[Token]) -> Iterator[Token]:
        for place, token in enumerate(tokens):
            before = tokens[place - 1].type if place else ""
            after = tuple(each.type for each in tokens[place + 1 : place + 6])
            fault = _fault(before, token, after)
            if fault:
                raise TemplateSyntaxError(fault, token.lineno, stream.name, stream.filename)
            of_value = token.type == "name" and token.value in ("_", "gettext") and after[:3] not in _LITERAL
            yield token._replace(value=_SAID) if of_value else token


def _fault(before: str, token: Token, after: tuple[str, ...]) -> str:
    if token.type != "name":
        return ""
    if (before, token.value) == ("block_begin", "autoescape"):
        return "escaping is always on: leave autoescape out"
    if (before, token.value) == ("pipe", "safe"):
        return "escaping is always on: leave safe out"
    if token.value == "ngettext" and after != _TWO_LITERALS:
        return "ngettext takes two sentences in quotes and a number"
    return ""


class _Compiled(BytecodeCache):
    """Compiled templates by file, for the environments of all languages: compiling is most of the work."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Any]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Called by Jinja, with the checksum of the file as it is now."""
        checksum, code = self._known.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Called by Jinja after compiling."""
        self._known[bucket.key] = (bucket.checksum, bucket.code)


_COMPILED: Final = {True: _Compiled(), False: _Compiled()}
"""By whether they escape, which is compiled in."""


def environment(folders: Sequence[Path], catalogue: Catalogue, *, escapes: bool) -> ImmutableSandboxedEnvironment:
    """Return the environment of one language. What is missing fails.

    :param folders: where templates are looked for, in this order.
    :param escapes: for HTML; all that a template includes is escaped too, whatever its name.
    """
    made = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        autoescape=escapes,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n", _AlwaysEscapes],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_COMPILED[escapes],
    )
    del made.filters["safe"]
    translate = cast(Any, made)
    translate.install_gettext_callables(
        lambda text: catalogue.get(text, text), lambda one, many, n: one if n == 1 else many, newstyle=True
    )
    made.globals[_SAID] = lambda text, /, **values: catalogue.get(text, text) % values
    return made


def where(error: BaseException, folders: Sequence[Path]) -> str:
    """Tell what is wrong with a template, and in which file and line of these folders if that is known."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name}, line {error.lineno}: {error.message}"
    known = {str(folder) for folder in folders}
    places = [each for each in extract_tb(error.__traceback__) if str(Path(each.filename).parent) in known]
    return f"{Path(places[-1].filename).name}, line {places[-1].lineno}: {error}" if places else str(error)
