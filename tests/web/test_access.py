"""Bearer tokens: where they are read, and how each fault is answered (RFC 6750; C1, C2)."""

from __future__ import annotations

import pytest

from tests.web.asking import PUBLIC_URL, TOKEN, Asker, claims, dispatcher, route
from watchword.errors import Refused
from watchword.web.access import bearer_token
from watchword.web.dispatch import Dispatcher
from watchword.web.origin import OriginRule
from watchword.web.route import AccessToken

PLAIN = 'Bearer realm="watchword"'


@pytest.fixture
def ask() -> Asker:
    return dispatcher()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_c1_the_scheme_is_case_insensitive(ask: Asker, scheme: str) -> None:
    answer = ask("GET", "/profile", [("authorization", f"{scheme} {TOKEN}")])
    assert (answer.status, answer.json["caller"]) == (200, "u1")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer", "Bearer ", "Bearer  aaa.bbb.ccc", "Bearer\taaa.bbb.ccc", "Bearer aaa.bbb.ccc ", "Bearer a b",
        "Bearer aaa.bbb.ccc, Bearer x", 'Bearer "aaa.bbb.ccc"', "Bearer aaa,bbb", "Bearer =", "Bearer a=b",
        b"Bearer \xff\xfe", b"Bearer a\x00b", "Bearer é", b"Bearer a\x0bb", "Bearer {}", "Bearer aaa.bbb.ccc;",
    ],
)  # fmt: skip
def test_c2_a_malformed_header_is_400(ask: Asker, value: str | bytes) -> None:
    """C2 (next-auth GHSA-xmf8-cvqr-rfgj): never a 500, and not confused with a bad token."""
    answer = ask("GET", "/profile", [("authorization", value)])
    assert (answer.status, answer.code) == (400, "authorization_malformed")
    assert 'error="invalid_request"' in answer["www-authenticate"]


@pytest.mark.parametrize("value", ["Basic YTpi", "Digest x", "BearerX aaa.bbb.ccc", "Token abc", "", "bearerish a"])
def test_c2_another_scheme_shows_no_token(ask: Asker, value: str) -> None:
    answer = ask("GET", "/profile", [("authorization", value)])
    assert (answer.status, answer.code, answer["www-authenticate"]) == (401, "token_missing", PLAIN)


def test_c2_no_credentials_get_a_plain_challenge(ask: Asker) -> None:
    """C2, RFC 6750 section 3.1: no error code when nothing was shown."""
    answer = ask("GET", "/profile")
    assert (answer.status, answer.code, answer["www-authenticate"]) == (401, "token_missing", PLAIN)


@pytest.mark.parametrize(
    "code", ["token_malformed", "token_invalid", "token_expired", "token_not_yet_valid", "token_revoked"]
)
def test_c2_a_bad_token_is_401_with_its_code(ask: Asker, code: str) -> None:
    answer = ask("GET", "/profile", [("authorization", f"Bearer {code}")])
    assert (answer.status, answer.code) == (401, code)
    assert answer["www-authenticate"].startswith(f'{PLAIN}, error="invalid_token", error_description="')


def test_c1_a_token_in_query_body_or_cookie_is_not_read(ask: Asker) -> None:
    """C1, RFC 9700 section 4.3.2."""
    assert ask("GET", "/profile", query_string=f"access_token={TOKEN}".encode()).status == 401
    assert ask("GET", "/profile", [("cookie", f"access_token={TOKEN}")]).status == 401
    assert ask.form("/introspect", f"grant_type=x&access_token={TOKEN}".encode()).status == 401


def test_c1_two_authorization_headers_are_400(ask: Asker) -> None:
    headers = [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")]
    answer = ask("GET", "/profile", headers)
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("path", "roles", "scopes", "status", "code"),
    [
        ("/r", ["admin"], [], 200, None),
        ("/r", [], [], 403, "role_missing"),
        ("/r", ["ADMIN", "administrator", "admin "], [], 403, "role_missing"),
        ("/s", [], ["a", "b", "c"], 200, None),
        ("/s", [], ["a"], 403, "scope_missing"),  # every one listed is needed
        ("/s", ["admin"], [], 403, "scope_missing"),
    ],
)
def test_c2_roles_and_scopes(path: str, roles: list[str], scopes: list[str], status: int, code: str | None) -> None:
    app = Dispatcher(
        [
            route("GET", "/r", access=AccessToken(roles=("admin",))),
            route("GET", "/s", access=AccessToken(scopes=("a", "b"))),
        ],
        prefix="",
        public_url=PUBLIC_URL,
        verify=lambda _: claims(roles=roles, scopes=scopes),
        origins=OriginRule(PUBLIC_URL),
    )
    answer = Asker(app)("GET", path, [("authorization", "Bearer t")])
    assert answer.status == status
    if code is not None:
        assert answer.code == code
        assert 'error="insufficient_scope"' in answer["www-authenticate"]
        assert ('scope="a b"' in answer["www-authenticate"]) == (code == "scope_missing")


def test_the_guard_speaks_before_the_body_is_read(ask: Asker) -> None:
    """Who may not enter cannot make us read 64 KiB, nor learn the shape of the body."""
    assert ask("PATCH", "/profile", [("content-type", "text/plain")], b"{").status == 401


def test_a_bad_bearer_at_an_oauth_endpoint_keeps_the_bearer_error(ask: Asker) -> None:
    answer = ask("POST", "/introspect", [("authorization", "Bearer token_expired")])
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer["www-authenticate"]


def test_bearer_token_for_handlers() -> None:
    def read(*values: bytes) -> str | None:
        return bearer_token({"headers": [(b"authorization", value) for value in values]})

    assert read() is None
    assert read(b"Basic x") is None
    assert read(b"bearer abc") == "abc"
    with pytest.raises(Refused) as malformed:
        read(b"Bearer a b")
    assert malformed.value.code == "authorization_malformed"
    with pytest.raises(Refused) as twice:
        read(b"Bearer a", b"Bearer a")
    assert twice.value.code == "invalid_request"
