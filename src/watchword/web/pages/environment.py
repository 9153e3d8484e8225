"""The environment that pages are rendered in: a sandbox that escapes, in which no template can stop escaping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from jinja2 import FileSystemLoader, StrictUndefined, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watchword.languages import Catalogue


class _AlwaysEscapes(Extension):
    """Refuses `{% autoescape %}`: what people type would become markup."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """Called by Jinja with the tokens of each template."""
        return self._checked(stream)

    def _checked(self, stream: TokenStream) -> Iterator[Token]:
        before = ""
        for token in stream:
            if (before, token.value) == ("block_begin", "autoescape"):
                raise TemplateSyntaxError("escaping is always on", token.lineno, stream.name, stream.filename)
            before = token.type
            yield token


def environment(folders: Sequence[Path], catalogue: Catalogue) -> ImmutableSandboxedEnvironment:
    """Return the environment of one language.

    :param folders: where templates are looked for, in this order.
    """
    made = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n", _AlwaysEscapes],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    del made.filters["safe"]
    translate = cast(Any, made)
    translate.install_gettext_callables(lambda text: catalogue.get(text, text), lambda one, *_: one, newstyle=True)
    return made
