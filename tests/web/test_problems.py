"""Errors become answers in one place (C4, C5, C6, C7), and each code has its page."""

from __future__ import annotations

import html
import html.parser
import inspect
import json
import re

import pytest

from tests.web.asking import PUBLIC_URL, ROUTES, Silent, dispatcher, failing, raising, route
from watchword import errors
from watchword.errors import (
    Conflict,
    Forbidden,
    InvalidKey,
    NotFound,
    Overloaded,
    Refused,
    SchemaMismatch,
    StorageError,
    StorageUnavailable,
    TokenError,
    TooManyAttempts,
    Unauthenticated,
    UniqueViolation,
    WatchwordError,
)
from watchword.problem_table import PROBLEMS
from watchword.web.feature import Feature
from watchword.web.problem_pages import ProblemPages, problem_routes
from watchword.web.route import Speech

LIMIT = TooManyAttempts(limit="login_account", policy="login", quota=10, window=900, retry_after=42)

TABLE: list[tuple[WatchwordError, int, str]] = [
    (Unauthenticated("no"), 401, "invalid_credentials"),
    (Unauthenticated("no", code="session_ended"), 401, "session_ended"),
    (Unauthenticated("no", code="refresh_superseded"), 401, "refresh_superseded"),
    (Unauthenticated("no", code="refresh_token_reused"), 401, "refresh_token_reused"),
    (Unauthenticated("no", code="refresh_token_missing"), 401, "refresh_token_missing"),
    (Unauthenticated("no", code="refresh_token_invalid"), 401, "refresh_token_invalid"),
    (Forbidden("no"), 403, "forbidden"),
    (Forbidden("no", code="registration_closed"), 403, "registration_closed"),
    (NotFound("no"), 404, "not_found"),
    (Conflict("no"), 409, "conflict"),
    (Conflict("no", code="username_taken"), 409, "username_taken"),
    (Conflict("no", code="email_taken"), 409, "email_taken"),
    (LIMIT, 429, "too_many_attempts"),
    (Overloaded("busy"), 503, "overloaded"),
    (StorageUnavailable("gone"), 503, "storage_unavailable"),
    (StorageError("gone"), 503, "storage_unavailable"),
    (SchemaMismatch("old"), 503, "schema_mismatch"),
    (UniqueViolation("ww_users_username"), 500, "internal_error"),
    (InvalidKey("short key in /etc/key"), 500, "internal_error"),
    (WatchwordError("whatever"), 500, "internal_error"),
    (Refused("no"), 400, "refused"),
    # codes that somebody made up: by class
    (Unauthenticated("no", code="made_up"), 401, "made_up"),
    (Forbidden("no", code="made_up"), 403, "made_up"),
    (NotFound("no", code="made_up"), 404, "made_up"),
    (Conflict("no", code="made_up"), 409, "made_up"),
    (Refused("no", code="made_up"), 400, "made_up"),
    (TokenError("no", code="made_up"), 401, "made_up"),
    (WatchwordError("no", code="made_up"), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), TABLE, ids=[f"{type(e).__name__}-{e.code}" for e, _, _ in TABLE])
def test_c4_every_error_is_a_problem(error: WatchwordError, status: int, code: str) -> None:
    """C4: RFC 9457, all members, and a type that is a page of ours."""
    answer = failing(error)
    assert (answer.status, answer.code) == (status, code)
    body = answer.json
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == status
    assert body["type"] == f"{PUBLIC_URL}/problems/{code}"
    assert body["request_id"] == answer["x-request-id"]
    assert (len(answer.every("www-authenticate")) == 1) == (status == 401)
    assert (len(answer.every("retry-after")) == 1) == (status in {429, 503})
    assert answer["cache-control"] == "no-store"


def test_every_code_of_the_errors_module_is_in_the_table() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WatchwordError)]
    ours = {"invalid_settings", "invalid_key", "unique_violation"}  # never shown: they become internal_error
    assert {kind.code for kind in classes} - ours <= set(PROBLEMS)
    documented = set(re.findall(r"(?:token|scope|role)_\w+", TokenError.__doc__ or ""))
    assert documented
    assert documented <= set(PROBLEMS)


def test_the_table_is_well_formed() -> None:
    for code, problem in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert 400 <= problem.status < 600
        assert problem.title[0].isupper()
        assert problem.about.endswith(".")
        assert not set(problem.challenge) & set('"\\')


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("could not connect to db.internal:5432 as watchword"),
        UniqueViolation("ww_users_username"),
        SchemaMismatch("/srv/data/watchword.db is at 7"),
        InvalidKey("/etc/key"),
    ],
)
def test_c5_a_fault_of_ours_tells_nothing_of_its_cause(error: WatchwordError) -> None:
    log = Silent()
    answer = dispatcher(route("GET", "/x", raising(error)), log=log)("GET", "/x")
    assert not re.search(rb"internal:|ww_users|/srv|/etc|5432", answer.body)
    assert log.lines[0][0] == "request_failed"
    assert log.lines[0][1]["exc_info"] is error


def test_an_overload_is_logged_in_one_short_line() -> None:
    log = Silent()
    dispatcher(route("GET", "/x", raising(Overloaded("busy"))), log=log)("GET", "/x")
    assert [event for event, _ in log.lines] == ["overloaded"]
    assert "exc_info" not in log.lines[0][1]


def test_c6_a_limit_says_when_and_what() -> None:
    """C6: Retry-After, and the two structured fields of the draft; not which of its limits was used up."""
    answer = failing(LIMIT)
    assert answer["retry-after"] == "42"
    assert answer["ratelimit-policy"] == '"login";q=10;w=900'
    assert answer["ratelimit"] == '"login";r=0;t=42'


@pytest.mark.parametrize("name", ['lo"gin', "lo\\gin", "lo\r\nset-cookie: a", "é"])
def test_c6_a_limits_name_cannot_break_the_field(name: str) -> None:
    answer = failing(TooManyAttempts(limit=name, policy=name, quota=1, window=1, retry_after=0))
    assert re.fullmatch(r'"[ !#-\[\]-~]*";r=0;t=1', answer["ratelimit"])
    assert answer["retry-after"] == "1"


def test_c7_a_fault_of_ours_is_never_a_401() -> None:
    """C7: a database that is away is 503 with Retry-After, at the OAuth door too."""
    for speech in Speech:
        for error in (StorageUnavailable("x"), Overloaded("x", retry_after=7), StorageError("x")):
            answer = failing(error, speech=speech)
            assert answer.status == 503
            assert answer["retry-after"] == ("7" if isinstance(error, Overloaded) else "1")


OAUTH: list[tuple[WatchwordError, int, str]] = [
    (Unauthenticated("no"), 400, "invalid_grant"),
    (Unauthenticated("no", code="session_ended"), 400, "invalid_grant"),
    (Unauthenticated("no", code="refresh_token_reused"), 400, "invalid_grant"),
    (Unauthenticated("no", code="refresh_superseded"), 400, "invalid_grant"),
    (Unauthenticated("no", code="refresh_token_invalid"), 400, "invalid_grant"),
    (Unauthenticated("no", code="invalid_client"), 401, "invalid_client"),
    (Refused("no", code="unsupported_grant_type"), 400, "unsupported_grant_type"),
    (Refused("no", code="invalid_scope"), 400, "invalid_scope"),
    (Refused("no", code="unauthorized_client"), 400, "unauthorized_client"),
    (Refused("no", code="invalid_grant"), 400, "invalid_grant"),
    (Refused("no", code="invalid_request"), 400, "invalid_request"),
    (Refused("no", code="unsupported_token_type"), 400, "unsupported_token_type"),
    (TokenError("no"), 401, "invalid_token"),
    (LIMIT, 429, "temporarily_unavailable"),
    (Overloaded("busy"), 503, "temporarily_unavailable"),
    (StorageUnavailable("x"), 503, "temporarily_unavailable"),
    (WatchwordError("x"), 500, "server_error"),
]


@pytest.mark.parametrize(("error", "status", "name"), OAUTH, ids=[f"{type(e).__name__}-{e.code}" for e, _, _ in OAUTH])
def test_c4_the_oauth_door_speaks_rfc_6749(error: WatchwordError, status: int, name: str) -> None:
    answer = failing(error, speech=Speech.OAUTH)
    assert (answer.status, answer.json["error"]) == (status, name)
    assert set(answer.json) == {"error", "error_description"}
    assert answer["content-type"] == "application/json"
    assert answer["cache-control"] == "no-store"
    if name == "invalid_client":
        assert answer["www-authenticate"].startswith("Bearer ")


BASIC = ("authorization", "Basic Zm9vOmJhcg==")


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ([BASIC], "Basic"),
        ([("authorization", "basic Zm9vOmJhcg==")], "Basic"),
        ([BASIC, ("sec-fetch-mode", "navigate")], "Basic"),
        ([], "Bearer"),
        ([("authorization", "Bearer abc")], "Bearer"),
        ([BASIC, ("x-requested-with", "XMLHttpRequest")], "Bearer"),
        ([BASIC, ("sec-fetch-mode", "cors"), ("sec-fetch-site", "cross-site")], "Bearer"),
        ([BASIC, ("sec-fetch-mode", "same-origin"), ("sec-fetch-site", "same-origin")], "Bearer"),
        ([BASIC, ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none")], "Basic"),
        ([BASIC, ("sec-fetch-mode", "cors")], "Basic"),  # Node.js
    ],
)
def test_the_challenge_is_basic_only_for_a_client_that_used_it(headers: list[tuple[str, str]], scheme: str) -> None:
    """RFC 6749 section 5.2. A browser answers Basic with a sign-in box of its own, also over a page's script."""
    for error in (Refused("no", code="invalid_client"), Unauthenticated("no", code="guard_key_invalid")):
        ask = dispatcher(route("POST", "/x", raising(error), speech=Speech.OAUTH))
        answer = ask("POST", "/x", headers)
        assert (answer.status, answer["www-authenticate"].partition(" ")[0]) == (401, scheme)


def test_an_error_description_holds_what_rfc_6749_allows() -> None:
    answer = failing(Refused('say "what" é \\ \r\n', code="invalid_request"), speech=Speech.OAUTH)
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", answer.json["error_description"])


# Pages


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.titles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]


ASK = dispatcher(*problem_routes(PUBLIC_URL, [Feature("sample", ROUTES)], docs=True))


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_every_type_is_a_page(code: str) -> None:
    answer = ASK("GET", f"/problems/{code}")
    assert (answer.status, answer["content-type"]) == (200, "text/html; charset=utf-8")
    reader = Reader()
    reader.feed(answer.body.decode())
    assert reader.tags.count("h1") == 1
    assert "main" in reader.tags
    assert "script" not in reader.tags
    assert reader.tags.count("h2") >= 4
    page = answer.body.decode()
    assert {f"{PUBLIC_URL}/problems", f"{PUBLIC_URL}/docs", f"{PUBLIC_URL}/icon.svg"} <= set(reader.links)
    assert f"{PUBLIC_URL}/problems/{code}" not in reader.links
    known = {f"{PUBLIC_URL}/problems/{other}" for other in PROBLEMS}
    assert {link for link in reader.links if "/problems/" in link} <= known
    for heading in ("What happened", "What to do", "The answer", "See also"):
        assert f"<h2>{heading}</h2>" in page
    shown = json.loads(html.unescape(page.partition("<pre>")[2].partition("</pre>")[0]).partition("\n\n")[2])
    assert (shown["code"], shown["status"]) == (code, PROBLEMS[code].status)
    assert set(shown) >= {"type", "title", "detail", "request_id"}
    assert "`" not in page.partition("<pre>")[0]


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_every_problem_says_what_to_do(code: str) -> None:
    """The first sentence says what happened; there is at least one more."""
    assert re.search(r"[.!?] [A-Z`]", PROBLEMS[code].about), "add a sentence that says what to do"


def test_a_page_names_the_routes_that_answer_so() -> None:
    page = ASK("GET", "/problems/token_expired").body.decode()
    assert f'href="{PUBLIC_URL}/docs#/sample/get_profile"' in page
    bare = dispatcher(*problem_routes(PUBLIC_URL))("GET", "/problems/token_expired").body.decode()
    assert "/docs" not in bare


def test_the_index_links_every_page() -> None:
    reader = Reader()
    reader.feed(ASK("GET", "/problems").body.decode())
    names = {link.rpartition("/")[2] for link in reader.links}
    assert names == {*PROBLEMS, "docs", "icon.svg"}


def test_c11_the_pages_may_run_nothing_and_style_themselves_only_by_hash() -> None:
    answer = ASK("GET", "/problems/not_found")
    policy = answer["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "script-src" not in policy


def test_an_unknown_page_is_404() -> None:
    assert ASK("GET", "/problems/<script>").status == 404
    with pytest.raises(NotFound):
        ProblemPages(PUBLIC_URL).problem("nothing_of_ours")
