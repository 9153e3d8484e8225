"""A guard in Flask between decorators and extensions of others: no refusal is taken for a view's result."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, jsonify, make_response, request
from flask.views import MethodView
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from watchword.guard.flask import FlaskGuard, RequestRefused, current_caller
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD, ADMIN = ISSUER.headers("ada"), ISSUER.headers("ada", roles=["admin"])


def make() -> tuple[Flask, FlaskGuard]:
    return Flask(__name__), FlaskGuard(ISSUER.guard())


def code(answer: Any) -> tuple[int, str | None]:
    return answer.status_code, (answer.get_json(force=True, silent=True) or {}).get("code")


# The form of a refusal -----------------------------------------------------------------------------------------------


def test_handlers_of_the_application_are_asked() -> None:
    """By status, by werkzeug's class and by ours; each sees the ready answer."""
    app, auth = make()
    app.add_url_rule("/", "in", auth.required()(lambda: "in"))
    app.add_url_rule("/admin", "admin", auth.required(roles="admin")(lambda: "in"))

    @app.errorhandler(401)
    def who(error: HTTPException) -> tuple[str, int, dict[str, str]]:
        assert isinstance(error, Unauthorized)
        assert isinstance(error, RequestRefused)
        assert error.get_response().headers["WWW-Authenticate"].startswith("Bearer")
        return f"who? {error.refusal.code}", 401, {"X-Mine": "1"}

    @app.errorhandler(Forbidden)
    def no(error: RequestRefused) -> tuple[str, int]:
        return error.refusal.code, 403

    @app.errorhandler(HTTPException)
    def any_other(error: HTTPException) -> Response:
        """The generic handler of Flask's own documentation."""
        answer = error.get_response()
        answer.data = json.dumps({"code": error.code, "name": error.name, "description": error.description})
        answer.content_type = "application/json"
        return answer

    refused = app.test_client().get("/")
    assert (refused.status_code, refused.text, refused.headers["X-Mine"]) == (401, "who? token_missing", "1")
    assert app.test_client().get("/admin", headers=GOOD).text == "role_missing"
    twice = app.test_client().get("/", headers={"Authorization": "Bearer a, Bearer b"})
    assert (twice.status_code, twice.json["name"]) == (400, "Bad Request")


def test_a_blueprints_own_handler_is_asked() -> None:
    app, auth = make()
    group = Blueprint("group", __name__, url_prefix="/group")
    group.add_url_rule("/one", "one", lambda: "in")
    group.register_error_handler(401, lambda error: ("of the group", 401))
    auth.protect(group)
    app.register_blueprint(group)
    assert app.test_client().get("/group/one").text == "of the group"


@pytest.mark.parametrize("keeps_the_name", [True, False])
def test_nothing_above_the_guard_changes_a_refusal(keeps_the_name: bool) -> None:
    """Wrappers that make an answer of whatever a view returns, as many applications have them."""
    app, auth = make()

    def always(wrap: Any) -> Any:
        def decorate(view: Any) -> Any:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                return wrap(view(*args, **kwargs))

            return functools.wraps(view)(wrapped) if keeps_the_name else wrapped

        return decorate

    wraps = {
        "json": lambda result: jsonify(data=str(result)),
        "made": lambda result: make_response((result, 200)),
        "pair": lambda result: (str(result), 200),
    }
    for name, wrap in wraps.items():
        app.add_url_rule(f"/{name}", name, always(wrap)(auth.required()(lambda: "in")))
    for name in wraps:
        assert code(app.test_client().get(f"/{name}")) == (401, "token_missing"), name
        assert "in" in app.test_client().get(f"/{name}", headers=GOOD).text


# Caches --------------------------------------------------------------------------------------------------------------


def cache_of(app: Flask) -> Any:
    from flask_caching import Cache

    return Cache(app, config={"CACHE_TYPE": "SimpleCache"})


def test_a_cache_above_the_guard_neither_keeps_a_refusal_nor_lets_a_stranger_in() -> None:
    app, auth = make()
    cache, ran = cache_of(app), []

    @app.get("/stock")
    @cache.cached()
    @auth.required(roles="admin")
    def stock() -> str:
        ran.append(1)
        return "7 left"

    client = app.test_client()
    for _ in range(2):
        assert code(client.get("/stock")) == (401, "token_missing")
        assert code(client.get("/stock", headers=GOOD)) == (403, "role_missing")
        assert client.get("/stock", headers=ADMIN).text == "7 left"
        assert client.head("/stock").status_code == 401
    assert len(ran) == 1, "the cache is one"


def test_a_cache_above_a_class_or_a_method_that_is_guarded() -> None:
    app, auth = make()
    cache = cache_of(app)

    class Whole(MethodView):
        decorators = [auth.required(), cache.cached()]  # the last one is the outermost  # noqa: RUF012

        def get(self) -> str:
            return "whole"

    class Method(MethodView):
        @cache.cached(key_prefix="method")
        @auth.required()
        def get(self) -> str:
            return "method"

    app.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    app.add_url_rule("/method", view_func=Method.as_view("method"))
    client = app.test_client()
    for path in ("/whole", "/method"):
        assert client.get(path, headers=GOOD).text == path[1:]
        for method in ("GET", "HEAD"):
            assert client.open(path, method=method).status_code == 401, path
        assert client.post(path).status_code in {401, 405}


def test_every_guard_of_several_is_asked_before_a_cache() -> None:
    app, auth = make()
    cache = cache_of(app)
    app.add_url_rule("/", "both", cache.cached()(auth.required()(auth.required(roles="admin")(lambda: "in"))))
    client = app.test_client()
    assert client.get("/", headers=ADMIN).text == "in"
    assert code(client.get("/", headers=GOOD)) == (403, "role_missing")


def test_what_answers_preflights_above_the_guard_goes_on_doing_so() -> None:
    app, auth = make()

    def cross_origin(view: Any) -> Any:
        @functools.wraps(view)
        def wrapped() -> Any:
            return Response(status=204) if request.method == "OPTIONS" else view()

        return wrapped

    app.add_url_rule(
        "/",
        "x",
        cross_origin(auth.required()(lambda: "in")),
        methods=["GET", "OPTIONS"],
        provide_automatic_options=False,
    )
    assert app.test_client().options("/").status_code == 204
    assert app.test_client().get("/").status_code == 401


# flask-restx ---------------------------------------------------------------------------------------------------------


def test_marshalling_above_the_guard_does_not_make_a_result_of_a_refusal() -> None:
    from flask_restx import Api, Resource, fields

    app, auth = make()
    api = Api(app)
    shown = api.model("Shown", {"id": fields.String})

    class Above(Resource):
        @api.marshal_with(shown)
        @auth.required(roles="admin")
        def get(self) -> dict[str, str]:
            return {"id": current_caller.user_id}

    class ByList(Resource):
        method_decorators = [auth.required(roles="admin")]  # noqa: RUF012

        @api.marshal_list_with(shown)
        def get(self) -> list[dict[str, str]]:
            return [{"id": current_caller.user_id}]

    api.add_resource(Above, "/above")
    api.add_resource(ByList, "/list")
    for path in ("/above", "/list"):
        refused = app.test_client().get(path)
        assert code(refused) == (401, "token_missing"), path
        assert refused.headers["WWW-Authenticate"].startswith("Bearer"), path
        assert code(app.test_client().get(path, headers=GOOD)) == (403, "role_missing")
    assert app.test_client().get("/above", headers=ADMIN).json == {"id": "ada"}
    assert app.test_client().get("/list", headers=ADMIN).json == [{"id": "ada"}]


# Flask-SocketIO ------------------------------------------------------------------------------------------------------


def socket_app() -> tuple[Flask, Any, list[str]]:
    from flask_socketio import Namespace, SocketIO, emit

    app, auth = make()
    socketio, ran = SocketIO(app, async_mode="threading"), []

    @socketio.on("connect")
    @auth.required()
    def connect() -> None:
        ran.append(f"connect {current_caller.user_id}")

    @socketio.on("change")
    @auth.required(roles="admin")
    def change(what: str) -> str:
        ran.append(f"change {what}")
        emit("changed", what, broadcast=True)
        return "done"

    class Inner(Namespace):
        @auth.required(roles="admin")
        def on_connect(self) -> None:
            ran.append("inner")

    socketio.on_namespace(Inner("/inner"))
    return app, socketio, ran


def test_a_stranger_is_not_connected_and_hears_no_broadcast() -> None:
    app, socketio, ran = socket_app()
    stranger = socketio.test_client(app)
    ada = socketio.test_client(app, headers=ADMIN)
    assert (stranger.is_connected(), ada.is_connected()) == (False, True)
    assert ada.emit("change", "prices", callback=True) == "done"
    socketio.emit("news", "for everybody")
    assert [each["name"] for each in ada.get_received()] == ["changed", "news"]
    with pytest.raises(RuntimeError, match="not connected"):
        stranger.get_received()
    assert ran == ["connect ada", "change prices"]
    assert not socketio.test_client(app, namespace="/inner", headers=GOOD).is_connected("/inner")
    assert socketio.test_client(app, namespace="/inner", headers=ADMIN).is_connected("/inner")


def test_an_event_is_refused_by_its_own_guard() -> None:
    """The error is one that the application's handler of errors gets."""
    app, socketio, ran = socket_app()
    seen: list[Any] = []
    socketio.on_error_default(seen.append)
    bob = socketio.test_client(app, headers=ISSUER.headers("bob"))
    with pytest.raises(HTTPException):
        bob.emit("change", "prices")
    assert ran == ["connect bob"]
    assert bob.get_received() == []


def poll(port: int, sid: str = "", body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """One request of the transport that needs no WebSocket."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    path = f"/socket.io/?EIO=4&transport=polling{f'&sid={sid}' if sid else ''}"
    connection.request("GET" if body is None else "POST", path, body, headers or {})
    with connection.getresponse() as answer:
        text = answer.read().decode()
    connection.close()
    return text


@contextmanager
def served(app: Flask) -> Iterator[int]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_stranger_is_told_why_by_a_real_server() -> None:
    """Over the protocol itself: the connection is refused with our code, and what is said to all stays unheard."""
    app, socketio, ran = socket_app()
    with served(app) as port:
        sids = {}
        for name, headers in (("stranger", {}), ("ada", GOOD)):
            sids[name] = json.loads(poll(port, headers=headers)[1:])["sid"]
            assert poll(port, sids[name], b"40", headers) == "OK"
        refused, taken = poll(port, sids["stranger"]), poll(port, sids["ada"])
        assert refused.startswith("44")
        assert json.loads(refused[2:])["data"]["code"] == "token_missing"
        assert taken.startswith("40")
        socketio.emit("news", "for everybody")
        assert "for everybody" in poll(port, sids["ada"])
        rooms = socketio.server.manager.rooms.get("/", {})
        assert len(rooms[None]) == 1
    assert ran == ["connect ada"]


# What the guide says about scope -------------------------------------------------------------------------------------


def whole(tmp_path: Any) -> Flask:
    """A guarded application with static files, a group inside a group, and others beside it."""
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    (tmp_path / "a.txt").write_text("static")
    app = Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    auth = FlaskGuard(ISSUER.guard())
    auth.protect(app)
    outer = Blueprint("outer", __name__, url_prefix="/outer", static_folder=str(tmp_path), static_url_path="/static")
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.add_url_rule("/x", "x", lambda: "in")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.add_url_rule("/slash/", "slash", lambda: "in")
    beside = Flask("beside")
    beside.add_url_rule("/", "beside", lambda: "beside")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/beside": beside.wsgi_app})  # type: ignore[method-assign]
    return app


def test_a_whole_application_is_all_that_Flask_answers_and_nothing_beside_it(tmp_path: Any) -> None:
    client = whole(tmp_path).test_client()
    paths = ("/static/a.txt", "/outer/static/a.txt", "/outer/inner/x", "/slash", "/slash/", "/none", "/static/none")
    for path in paths:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "PROPFIND"):
            assert client.open(path, method=method).status_code == 401, (method, path)
        preflight = client.options(path)
        assert preflight.status_code == 401 or (preflight.data == b"" and preflight.headers["Allow"]), path
    assert client.get("/static/a.txt", headers=GOOD, buffered=True).text == "static"
    assert client.get("/outer/inner/x", headers=GOOD).text == "in"
    assert client.get("/beside/").text == "beside", "the guide says that it is not reached"


def test_a_whole_application_is_not_its_wrappers_nor_its_sockets(tmp_path: Any) -> None:
    """As the guide says: they are asked before Flask is."""
    from flask_socketio import SocketIO
    from werkzeug.middleware.shared_data import SharedDataMiddleware

    (tmp_path / "a.txt").write_text("shared")
    app, auth = make()
    auth.protect(app)
    app.wsgi_app = SharedDataMiddleware(app.wsgi_app, {"/shared": str(tmp_path)})  # type: ignore[method-assign]
    socketio = SocketIO(app, async_mode="threading")
    socketio.on("connect")(lambda: None)
    assert app.test_client().get("/shared/a.txt", buffered=True).text == "shared"
    assert socketio.test_client(app).is_connected()
    assert app.test_client().get("/").status_code == 401


def test_a_blueprint_is_its_views_files_and_inner_blueprints(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("static")
    app, auth = make()
    outer = Blueprint("outer", __name__, url_prefix="/outer", static_folder=str(tmp_path), static_url_path="/static")
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.add_url_rule("/x", "x", lambda: "in")
    outer.register_blueprint(inner)
    auth.protect(outer)
    app.register_blueprint(outer)
    app.add_url_rule("/outer/other", "other", lambda: "other")
    client = app.test_client()
    for path in ("/outer/inner/x", "/outer/static/a.txt"):
        assert client.get(path).status_code == client.head(path).status_code == 401
        assert client.get(path, headers=GOOD, buffered=True).status_code == 200
    assert client.get("/outer/none").status_code == 404
    assert client.get("/outer/other").text == "other"


def test_the_key_of_a_cache_that_the_guide_shows() -> None:
    app, auth = make()
    cache = cache_of(app)
    app.add_url_rule(
        "/",
        "mine",
        cache.cached(make_cache_key=lambda *_, **__: current_caller.user_id)(
            auth.required()(lambda: current_caller.user_id)
        ),
    )
    for name in ("ada", "bob", "ada"):
        assert app.test_client().get("/", headers=ISSUER.headers(name)).text == name
    assert app.test_client().get("/").status_code == 401
