"""What only the Flask adapter does."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask

from watchword.guard import bearer
from watchword.guard.flask import FlaskGuard, current_caller, find_caller
from watchword.testing import Issuer

ISSUER = Issuer()


def make() -> tuple[Flask, FlaskGuard]:
    app = Flask(__name__, static_folder=None)
    return app, FlaskGuard(ISSUER.guard())


def status(app: Flask, path: str, method: str = "GET", token: bool = False) -> int:
    headers = ISSUER.headers("ada") if token else {}
    return app.test_client().open(path, method=method, headers=headers).status_code


def test_a_whole_application_is_guarded_with_what_comes_later_and_what_is_not_there() -> None:
    app, auth = make()
    auth.protect(app, except_endpoints=["health"])
    later = Blueprint("later", __name__, url_prefix="/later")
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.add_url_rule("/x", "x", lambda: current_caller.user_id)
    later.register_blueprint(inner)
    app.register_blueprint(later)
    app.add_url_rule("/health", "health", lambda: "fine")
    assert status(app, "/later/inner/x") == 401
    assert app.test_client().get("/later/inner/x", headers=ISSUER.headers("ada")).text == "ada"
    assert status(app, "/nowhere") == 401
    assert status(app, "/nowhere", token=True) == 404
    assert status(app, "/health") == 200


def test_no_way_of_writing_a_path_gets_around_a_blueprint() -> None:
    """Flask routes first and the guard asks what was routed, so there is nothing to get around."""
    app, auth = make()
    group = Blueprint("group", __name__, url_prefix="/group")
    group.add_url_rule("/one", "one", lambda: "in")
    auth.protect(group)
    app.register_blueprint(group)
    for path in ("/group/one", "//group/one", "/group//one", "/./group/one", "/x/../group/one", "/GROUP/one"):
        assert app.test_client().get(path, follow_redirects=True).status_code in {401, 404}


def test_flasks_own_answer_to_OPTIONS_passes_and_a_view_for_OPTIONS_does_not() -> None:
    """A CORS preflight carries no token, and no view runs for it; where one would, it is guarded."""
    app, auth = make()
    auth.protect(app)
    app.add_url_rule("/auto", "auto", lambda: "in")
    app.add_url_rule("/own", "own", lambda: "ran", methods=["GET", "OPTIONS"])
    decorated = auth.required()(lambda: "ran")
    app.add_url_rule("/decorated", "decorated", decorated, methods=["OPTIONS"], provide_automatic_options=False)
    assert status(app, "/auto", "OPTIONS") == 200
    assert status(app, "/own", "OPTIONS") == 401
    assert status(app, "/own", "OPTIONS", token=True) == 200
    assert status(app, "/decorated", "OPTIONS") == 401
    assert status(app, "/nowhere", "OPTIONS") == 401


def test_an_optional_application() -> None:
    app, auth = make()
    auth.protect(app, optional=True)
    app.add_url_rule("/", "who", lambda: str(find_caller() and current_caller.user_id))
    assert app.test_client().get("/").text == "None"
    assert app.test_client().get("/", headers=ISSUER.headers("ada")).text == "ada"
    assert app.test_client().get("/", headers={"Authorization": "Bearer x"}).status_code == 401


def test_async_views_are_guarded_too() -> None:
    app, auth = make()

    @app.get("/")
    @auth.required()
    async def view() -> str:
        return current_caller.user_id

    assert view.__name__ == "view"
    assert status(app, "/") == 401
    assert app.test_client().get("/", headers=ISSUER.headers("ada")).text == "ada"


def test_there_is_no_caller_where_nothing_is_guarded() -> None:
    app, _ = make()

    @app.get("/")
    def view() -> Any:
        assert find_caller() is None
        with pytest.raises(RuntimeError, match="no caller"):
            _ = current_caller.user_id
        return "none"

    assert app.test_client().get("/", headers=ISSUER.headers("ada")).text == "none"


def test_a_caller_does_not_outlive_the_request() -> None:
    """Also where an application context was pushed by hand, which requests then share."""
    app, auth = make()
    app.add_url_rule("/guarded", "guarded", auth.required()(lambda: "in"))
    app.add_url_rule("/open", "open", lambda: str(find_caller()))
    with app.app_context():
        assert app.test_client().get("/guarded", headers=ISSUER.headers("ada")).text == "in"
        assert app.test_client().get("/open").text == "None"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("Bearer a", "Bearer a"),
        ("Bearer a,Bearer b", ["Bearer a", "Bearer b"]),
        ("Bearer a, bearer b", ["Bearer a", " bearer b"]),
        ("Basic Og==,Bearer b", ["Basic Og==", "Bearer b"]),
        ("Bearer a,b", "Bearer a,b"),
        ("Bearer a,", "Bearer a,"),
        ('Digest username="x", realm="y", nonce = "z"', 'Digest username="x", realm="y", nonce = "z"'),
    ],
)
def test_two_headers_that_a_server_joined_are_two(value: str | None, expected: Any) -> None:
    assert bearer.from_wsgi(value) == expected
