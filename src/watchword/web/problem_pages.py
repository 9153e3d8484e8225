"""The pages behind every problem's `type`: what happened and what to do, for people who follow the link."""

from __future__ import annotations

from html import escape

from watchword.errors import NotFound
from watchword.web.headers import public_for, styled_page_policy
from watchword.web.problem_table import PROBLEMS
from watchword.web.route import Anyone, Call, Reply, Route

_STYLE = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff}"
    "code{background:#f0f0f0;padding:.1em .3em;border-radius:3px}a{color:#0b4f9e}dt{margin-top:1em;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}code{background:#333}a{color:#8ec1ff}}"
)
_HEADERS = (styled_page_policy(_STYLE), public_for(3600))


def problem_page(code: str, *, index: str) -> str:
    """The page of one code, as HTML, with a link to the index.

    :raises NotFound: for a code that is not in the table.
    """
    problem = PROBLEMS.get(code)
    if problem is None:
        raise NotFound("There is no problem of this name.")
    return _page(
        problem.title,
        f"<h1>{escape(problem.title)}</h1>"
        f"<p>Status {problem.status}, code <code>{escape(code)}</code></p>"
        f"<p>{_prose(problem.about)}</p>"
        f'<p><a href="{escape(index)}">All problems</a></p>',
    )


def problems_index(*, index: str) -> str:
    """The page that lists every code, as HTML. `index` is its own address."""
    entries = "".join(
        f'<dt><a href="{escape(index)}/{code}">{escape(problem.title)}</a></dt>'
        f"<dd>{problem.status} <code>{code}</code></dd>"
        for code, problem in sorted(PROBLEMS.items())
    )
    return _page("Problems", f"<h1>Problems</h1><p>What can go wrong, by name.</p><dl>{entries}</dl>")


def problem_routes(public_url: str) -> tuple[Route, ...]:
    """`GET /problems` and `GET /problems/{code}`."""
    index = public_url.rstrip("/") + "/problems"

    async def show_index(_: Call) -> Reply:
        return Reply(problems_index(index=index).encode(), headers=_HEADERS)

    async def show_problem(call: Call) -> Reply:
        return Reply(problem_page(call.params["code"], index=index).encode(), headers=_HEADERS)

    return (
        Route(
            method="GET",
            path="/problems",
            handler=show_index,
            guard=Anyone(),
            summary="Every problem by name",
            media_type="text/html; charset=utf-8",
            documented=False,
        ),
        Route(
            method="GET",
            path="/problems/{code}",
            handler=show_problem,
            guard=Anyone(),
            summary="What a problem means and what to do",
            media_type="text/html; charset=utf-8",
            documented=False,
        ),
    )


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – Watchword</title><style>{_STYLE}</style></head>"
        f"<body><main>{content}</main></body></html>"
    )


def _prose(text: str) -> str:
    """Escaped text in which `…` has become code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if odd % 2 else piece for odd, piece in enumerate(pieces))
