"""The pages behind every problem's `type`: cause, remedy, example and routes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from http import HTTPStatus

from watchword.errors import NotFound
from watchword.problem_table import PLAIN_CHALLENGE, PROBLEMS, Problem
from watchword.web.feature import Feature
from watchword.web.framed import HTML, STYLE_POLICY, framed, listed
from watchword.web.headers import public_for
from watchword.web.openapi import implied_codes, operation_id, some_problem, tag_of
from watchword.web.route import Anyone, Call, Reply, Route, Speech

_HEADERS = (STYLE_POLICY, public_for(3600))
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z`])")
_NEIGHBOURS = 4
_Places = dict[str, list[tuple[str, Route]]]


class ProblemPages:
    """Writes the pages.

    :param root: the public URL.
    :param features: their routes answer with problems.
    :param prefix: of the routes' paths.
    :param docs: whether `/docs` exists.
    """

    def __init__(self, root: str, features: Sequence[Feature] = (), *, prefix: str = "", docs: bool = False) -> None:
        self._root = root.rstrip("/")
        self._prefix = prefix
        self._docs = docs
        self._places: _Places = defaultdict(list)
        for tag, route in ((tag_of(each, route), route) for each in features for route in each.routes):
            if route.documented and route.speech is Speech.PROBLEM:
                for code in implied_codes(route):
                    self._places[code].append((tag, route))

    def problem(self, code: str) -> str:
        """Return a code's page, as HTML.

        :raises NotFound: for an unknown code.
        """
        problem = PROBLEMS.get(code)
        if problem is None:
            raise NotFound("There is no problem of this name.")
        happened, *do = _SENTENCE.split(problem.about)
        return framed(
            self._root,
            problem.title,
            f"<p>Status {problem.status}, code <code>{escape(code)}</code></p>"
            f"<h2>What happened</h2><p>{_prose(happened)}</p>"
            f"<h2>What to do</h2><p>{_prose(' '.join(do) or 'Read `detail` in the answer.')}</p>"
            f"<h2>The answer</h2><pre>{escape(self._answer(code, problem))}</pre>"
            f"{self._routes(code)}<h2>See also</h2>{self._see_also(code, problem)}",
        )

    def index(self) -> str:
        """Return the list of codes, as HTML."""
        entries = "".join(
            f"<dt>{self._link(code)}</dt><dd>{problem.status} <code>{code}</code></dd>"
            for code, problem in sorted(PROBLEMS.items())
        )
        docs = f"<p>{self._to_docs()}</p>" if self._docs else ""
        return framed(self._root, "Problems", f"<p>What can go wrong, by name.</p>{docs}<dl>{entries}</dl>")

    def _answer(self, code: str, problem: Problem) -> str:
        status = HTTPStatus(problem.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Type: application/problem+json"]
        if status is HTTPStatus.UNAUTHORIZED:
            lines.append(f"WWW-Authenticate: {PLAIN_CHALLENGE}")
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            lines.append("Retry-After: 30")
        return "\n".join([*lines, "", json.dumps(some_problem(code, self._root + "/problems/"), indent=2)])

    def _routes(self, code: str) -> str:
        places = self._places.get(code, [])
        if not places:
            return ""
        shown = (self._route(tag, route) for tag, route in places)
        return f"<h2>Who answers so</h2>{listed(shown)}"

    def _route(self, tag: str, route: Route) -> str:
        path = route.path if route.root else self._prefix + route.path
        name = f"<code>{route.method} {escape(path)}</code>"
        if not self._docs:
            return name
        return f'<a href="{escape(self._root)}/docs#/{tag}/{operation_id(route)}">{name}</a>'

    def _see_also(self, code: str, problem: Problem) -> str:
        like = [other for other, one in PROBLEMS.items() if one.status == problem.status and other != code]
        links = [self._link(other) for other in like[:_NEIGHBOURS]]
        links.append(f'<a href="{escape(self._root)}/problems">All problems</a>')
        return listed([*links, self._to_docs()] if self._docs else links)

    def _to_docs(self) -> str:
        return f'<a href="{escape(self._root)}/docs">Every route, to read and to try</a>'

    def _link(self, code: str) -> str:
        return f'<a href="{escape(self._root)}/problems/{code}">{escape(PROBLEMS[code].title)}</a>'


def problem_routes(
    public_url: str, features: Sequence[Feature] = (), *, prefix: str = "", docs: bool = False
) -> tuple[Route, ...]:
    """Return `GET /problems` and `GET /problems/{code}`."""
    pages = ProblemPages(public_url, features, prefix=prefix, docs=docs)

    async def show_index(_: Call) -> Reply:
        return Reply(pages.index().encode(), headers=_HEADERS)

    async def show_problem(call: Call) -> Reply:
        return Reply(pages.problem(call.params["code"]).encode(), headers=_HEADERS)

    return (
        Route(
            method="GET",
            path="/problems",
            handler=show_index,
            access=Anyone(),
            summary="Every problem by name",
            media_type=HTML,
            documented=False,
        ),
        Route(
            method="GET",
            path="/problems/{code}",
            handler=show_problem,
            access=Anyone(),
            summary="What a problem means and what to do",
            media_type=HTML,
            documented=False,
        ),
    )


def _prose(text: str) -> str:
    """Escape text; `…` becomes code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if odd % 2 else piece for odd, piece in enumerate(pieces))
