"""The frame of our pages for people: one style, light and dark, on a phone too; our icon, no script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from watchword.web.headers import styled_page_policy

HTML: Final = "text/html; charset=utf-8"
_STYLE = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff;overflow-wrap:anywhere}"
    "h1{line-height:1.25}h2{margin:2rem 0 .5rem;font-size:1.2rem}"
    "code,pre{background:#f0f0f0;border-radius:3px}code{padding:.1em .3em}"
    "pre{padding:1rem;overflow-x:auto;white-space:pre-wrap;font-size:.9rem;line-height:1.45}"
    "a{color:#0b4f9e}dt{margin-top:1em;font-weight:600}dd{margin:0}ul{padding-left:1.2rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}code,pre{background:#2c2c2c}a{color:#8ec1ff}}"
)
STYLE_POLICY: Final = styled_page_policy(_STYLE)
"""The `Content-Security-Policy` of these pages."""


def framed(root: str, title: str, content: str) -> str:
    """Return the whole page.

    :param root: the public URL, without a slash at its end.
    :param title: as plain text.
    :param content: as HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" type="image/svg+xml" href="{escape(root)}/icon.svg">'
        f"<title>{_titled(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


def listed(entries: Iterable[str]) -> str:
    """Return a list of these pieces of HTML."""
    return "<ul>" + "".join(f"<li>{entry}</li>" for entry in entries) + "</ul>"


def _titled(title: str) -> str:
    return title if title == "Watchword" else f"{escape(title)} – Watchword"
