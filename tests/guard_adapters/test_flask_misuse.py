"""A guard in Flask that is written wrongly says so, with the line to write; it never leaves a route open."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from watchword.guard.flask import FlaskGuard, current_caller
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")
module_app = Flask("module")
module_auth = FlaskGuard(ISSUER.guard())
module_group = Blueprint("group", "module")


def make() -> tuple[Flask, Any]:
    return Flask(__name__), FlaskGuard(ISSUER.guard())


def orders() -> str:
    return "in"


@pytest.mark.parametrize("name", ["required", "optional"])
def test_forgotten_parentheses(name: str) -> None:
    _, auth = make()
    for forgotten in (orders, MethodView, FlaskGuard(ISSUER.guard()).required):
        with pytest.raises(TypeError, match=rf"parentheses are missing: write @auth\.{name}\(\)"):
            getattr(auth, name)(forgotten)


@pytest.mark.parametrize("given", ["admin", ["admin"], None, 300])
def test_what_is_needed_is_given_by_name(given: Any) -> None:
    _, auth = make()
    with pytest.raises(TypeError, match=r'@auth\.required\(roles="…"\)'):
        auth.required(given)
    with pytest.raises(TypeError, match=r"auth\.optional"):
        auth.optional(given)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"role": "admin"}, "role"),
        ({"scope": "x"}, "scope"),
        ({"maxage": 3}, "maxage"),
        ({"roles": None}, "roles are texts"),
        ({"roles": []}, "roles are empty"),
        ({"roles": ""}, "roles are empty"),
        ({"roles": "  "}, "roles are empty"),
        ({"roles": set()}, "roles are empty"),
        ({"roles": [""]}, "one of the roles is empty"),
        ({"roles": [None]}, "roles are texts"),
        ({"roles": b"admin"}, "roles are texts"),
        ({"roles": 7}, "roles are texts"),
        ({"roles": True}, "roles are texts"),
        ({"scopes": None}, "scopes are texts"),
        ({"scopes": {}}, "scopes are empty"),
        ({"scopes": (each for each in ())}, "scopes are empty"),
        ({"max_age": "300"}, "max_age"),
        ({"max_age": True}, "max_age"),
        ({"max_age": -1}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(asked: dict[str, Any], message: str) -> None:
    app, auth = make()
    for write in (auth.required, auth.optional, lambda **given: auth.protect(app, **given)):
        if not callable(getattr(asked.get("scopes"), "__next__", None)):
            with pytest.raises((TypeError, ValueError), match=message):
                write(**asked)
    with pytest.raises((TypeError, ValueError), match=message):
        auth.required(**asked)


def test_a_class_is_guarded_by_its_own_list() -> None:
    app, auth = make()

    class Orders(MethodView):
        decorators = [auth.required(roles="admin")]  # noqa: RUF012

        def get(self) -> str:
            return current_caller.user_id

    with pytest.raises(TypeError, match=r"decorators = \[auth\.required\(…\)\]"):
        auth.required()(Orders)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    for method in ("GET", "HEAD", "POST", "PUT", "BREW"):
        assert app.test_client().open("/", method=method).status_code in {401, 405}
        assert app.test_client().open("/", method=method, headers=GOOD).status_code in {403, 405}
    assert app.test_client().get("/", headers=ISSUER.headers("ada", roles=["admin"])).text == "ada"


def test_a_guard_above_the_route_is_noticed_where_it_is_written() -> None:
    """It would protect nothing: what is routed is the bare view. In a module, in a factory, in a blueprint."""
    app, auth = make()
    group = Blueprint("group", __name__)
    for where in (app, group):
        with pytest.raises(RuntimeError, match=r"above the route of 'one'[\s\S]*@app\.get[\s\S]*@auth\.required"):

            @auth.required()
            @where.get("/one")
            def one() -> str:
                return "in"

    for place in (module_app, module_group):
        with pytest.raises(RuntimeError, match="above the route"):
            module_auth.optional()(place.route("/one")(lambda: "in"))


def test_a_guard_above_the_route_of_an_application_elsewhere_is_noticed_by_the_first_request() -> None:
    holder = {"app": Flask(__name__), "auth": FlaskGuard(ISSUER.guard())}
    _ = holder["auth"].required()(holder["app"].get("/one")(orders_of()))  # type: ignore[attr-defined]
    holder["app"].testing = True  # type: ignore[attr-defined]
    for headers in ({}, GOOD):
        with pytest.raises(RuntimeError, match="above the route"):
            holder["app"].test_client().get("/one", headers=headers)  # type: ignore[attr-defined]
    holder["app"].testing = False  # type: ignore[attr-defined]
    assert holder["app"].test_client().get("/one").status_code == 500  # type: ignore[attr-defined]


def orders_of() -> Any:
    return lambda: "in"


@pytest.mark.parametrize("with_server", [True, False])
def test_a_guard_above_an_event_of_Flask_SocketIO_is_noticed(with_server: bool) -> None:
    from flask_socketio import SocketIO

    app, auth = make()
    socketio = SocketIO(app, async_mode="threading") if with_server else SocketIO()
    with pytest.raises(RuntimeError, match=r"of 'connect'[\s\S]*\(or the event\) first"):

        @auth.required()
        @socketio.on("connect")
        def connect() -> None: ...

    with pytest.raises(RuntimeError, match="above the route"):

        @auth.required()
        @socketio.event(namespace="/inner")
        def change() -> None: ...


def test_a_guard_may_be_put_before_a_view_that_is_routed_already(tmp_path: Any) -> None:
    """In the place of the bare one, as is done for static files."""
    (tmp_path / "a.txt").write_text("static")
    app = Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    auth = FlaskGuard(ISSUER.guard())

    @app.get("/one")
    def one() -> str:
        return "in"

    for name in ("static", "one"):
        app.view_functions[name] = auth.required()(app.view_functions[name])
    for path in ("/static/a.txt", "/one"):
        assert app.test_client().get(path).status_code == 401
        assert app.test_client().get(path, headers=GOOD, buffered=True).status_code == 200


def test_several_decorators_between_the_guard_and_the_route() -> None:
    app, auth = make()

    def kept(view: Any) -> Any:
        return view

    with pytest.raises(RuntimeError, match="above the route"):

        @kept
        @auth.required(
            roles="admin",
        )
        @kept
        @app.get(
            "/one",
        )
        def one(
            first: int = 1,
        ) -> str:
            return "in"


def test_a_view_may_be_routed_twice_once_without_its_guard() -> None:
    app, auth = make()
    view = orders_of()
    app.add_url_rule("/mine", "mine", auth.required()(view))
    app.add_url_rule("/open", "open", view)
    assert app.test_client().get("/mine").status_code == 401
    assert app.test_client().get("/open").text == "in"


def test_a_hook_before_requests() -> None:
    """A function of one's own with the guard above it; and `protect` is what is to be written for the decorator."""
    app, auth = make()
    app.add_url_rule("/", "orders", orders_of())

    @app.before_request
    @auth.required()
    def all_of_it() -> None:
        assert current_caller.user_id == "ada"

    assert app.test_client().get("/").status_code == 401
    assert app.test_client().get("/nowhere").status_code == 401
    assert app.test_client().get("/", headers=GOOD).text == "in"

    other, auth = make()
    other.add_url_rule("/", "orders", orders_of())
    other.before_request(auth.required())
    other.testing = True
    with pytest.raises(TypeError, match="decorates a view"):
        other.test_client().get("/", headers=GOOD)


def test_a_route_without_a_view() -> None:
    """The guard itself was routed, or what it makes decorators of."""
    app, auth = make()
    app.testing = True
    app.add_url_rule("/a", "a", auth.required())
    with pytest.raises(TypeError, match="decorates a view"):
        app.test_client().get("/a")
    for nothing in (None, "view", 7):
        with pytest.raises(TypeError, match="decorates a view"):
            auth.required()(nothing)


def test_a_group_that_cannot_be_guarded() -> None:
    app, auth = make()
    for target in (None, "app", orders, FlaskGuard):
        with pytest.raises(TypeError, match="application or a blueprint"):
            auth.protect(target)
    for optional in ("no", 1, None):
        with pytest.raises(TypeError, match="optional is True or False"):
            auth.protect(app, optional=optional)
    for spared in ("static", None, [None], 7):
        with pytest.raises(TypeError, match="except_endpoints is a list"):
            auth.protect(app, except_endpoints=spared)
    group = Blueprint("group", __name__)
    app.register_blueprint(group)
    with pytest.raises(AssertionError, match="before_request"):
        auth.protect(group)


@pytest.mark.parametrize("given", [None, "https://auth.example", Flask("x"), ISSUER, type(ISSUER.guard())])
def test_only_a_guard_is_one(given: Any) -> None:
    with pytest.raises(TypeError, match="takes a Guard"):
        FlaskGuard(given)


def test_the_guard_of_an_application_that_is_there_already_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests: everything that was decorated or protected asks the new one, and afterwards the old one again."""
    app, auth = make()
    app.add_url_rule("/view", "view", auth.required(roles="admin")(orders_of()))
    group = Blueprint("group", __name__, url_prefix="/group")
    group.add_url_rule("/one", "one", orders_of())
    auth.protect(group)
    app.register_blueprint(group)
    other = Issuer()
    theirs = other.headers("eve", roles=["admin"])
    for path in ("/view", "/group/one"):
        assert app.test_client().get(path, headers=theirs).status_code == 401
        with monkeypatch.context() as during:
            during.setattr(auth, "guard", other.guard())
            assert app.test_client().get(path, headers=theirs).text == "in"
            assert app.test_client().get(path, headers=ISSUER.headers(roles=["admin"])).status_code == 401
        assert app.test_client().get(path, headers=theirs).status_code == 401
    assert app.test_client().get("/view", headers=other.headers()).status_code == 401
    with pytest.raises(TypeError, match="takes a Guard"):
        auth.guard = None
