"""The table of requests over gRPC, in threads and on an event loop; every kind of method; and slips."""

from __future__ import annotations

import asyncio
import functools
import json
import queue
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, NamedTuple

import grpc
import pytest

from tests.guard.service import Service
from tests.guard_adapters import grpc_app
from tests.guard_adapters.serving import ROOT
from tests.guard_adapters.test_guides import placed
from tests.guard_adapters.test_scenarios import SCENARIOS, Scenario, Tokens
from watchword.guard import Guard, OtherHeader
from watchword.guard.grpc import PROBLEM_CODE, GrpcGuard, get_caller
from watchword.testing import Issuer

METHODS = {"/group/one": f"/{grpc_app.GROUP}/One"}
ISSUER = Issuer()
GOOD = [("authorization", ISSUER.headers("ada")["Authorization"])]
SERVERS = {"threads": grpc_app.in_threads, "loop": grpc_app.on_a_loop}


class Said(NamedTuple):
    """What came back: a status, the first message, and the trailing metadata."""

    status: grpc.StatusCode
    message: bytes
    told: dict[str, str]
    details: str

    @property
    def user(self) -> Any:
        return json.loads(self.message)["user"]


def ask(address: str, method: str, metadata: Any = (), kind: str = "unary_unary") -> Said:
    with grpc.insecure_channel(address) as channel:
        call = getattr(channel, kind)(method)
        sent: Any = iter([b"1", b"2"]) if kind.startswith("stream") else b""
        try:
            if kind.endswith("unary"):
                message, done = call.with_call(sent, metadata=metadata, timeout=60)
            else:
                done = call(sent, metadata=metadata, timeout=60)
                message = b"|".join(done)
        except grpc.RpcError as error:
            return Said(error.code(), b"", dict(error.trailing_metadata() or ()), error.details())
        return Said(done.code(), message, dict(done.trailing_metadata() or ()), "")


@pytest.fixture(scope="module", params=SERVERS)
def address(request: pytest.FixtureRequest, guard: Guard) -> Iterator[str]:
    with SERVERS[request.param](guard) as found:
        yield found


@pytest.fixture(params=SERVERS)
def serve(request: pytest.FixtureRequest) -> Any:
    return functools.partial(SERVERS[request.param])


def method_of(scenario: Scenario) -> str:
    path = scenario.path.partition("?")[0]
    return METHODS.get(path, f"/{grpc_app.SERVICE}/{path[1:].capitalize()}")


TABLE = [each for each in SCENARIOS if each.name != "bytes"]
"""No client of gRPC sends such metadata."""
STATUSES = {400: "UNAUTHENTICATED", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}


@pytest.mark.parametrize("scenario", TABLE, ids=lambda scenario: scenario.name)
def test_the_table(scenario: Scenario, address: str, issuer: Service) -> None:
    """Code and challenge are those of HTTP; the status is gRPC's word for it."""
    headers = scenario.headers(Tokens(issuer))
    given = [(name.lower(), value.decode() if isinstance(value, bytes) else value) for name, value in headers]
    said = ask(address, method_of(scenario), given)
    if scenario.code is None:
        assert (said.status, said.user) == (grpc.StatusCode.OK, None if scenario.nobody else "ada")
        return
    if said.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        assert scenario.name == "9000 letters"  # beyond 8 KiB gRPC itself refuses some, by chance, before the guard
        return
    assert said.status is getattr(grpc.StatusCode, STATUSES[scenario.status]), said
    assert said.told[PROBLEM_CODE] == scenario.code
    assert said.told.get("www-authenticate") == scenario.challenge
    assert said.details
    assert scenario.path.count("?") or scenario.detail in said.details  # its methods have no query


def test_what_is_revoked_is_refused_within_a_second(address: str, issuer: Service) -> None:
    session = str(uuid.uuid4())
    metadata = [("authorization", f"Bearer {issuer.token(user_id='ada', session_id=session)}")]
    method = f"/{grpc_app.SERVICE}/Needs"
    assert ask(address, method, metadata).user == "ada"
    issuer.revoke("session", session)
    time.sleep(1)
    assert ask(address, method, metadata).told[PROBLEM_CODE] == "token_revoked"


def test_a_guard_without_keys_is_unavailable(serve: Any) -> None:
    guard = Guard("http://127.0.0.1:9")  # nothing listens there
    with serve(guard) as address:
        said = ask(address, f"/{grpc_app.SERVICE}/Needs", GOOD)
    guard.stop()
    assert said.status is grpc.StatusCode.UNAVAILABLE
    assert (said.told[PROBLEM_CODE], said.told["retry-after"]) == ("guard_not_ready", "1")


@pytest.mark.parametrize("kind", ["unary_stream", "stream_unary", "stream_stream"])
def test_streams(serve: Any, kind: str) -> None:
    """A method that streams is refused before its first message, and sees its caller to the last."""
    name = {"unary_stream": "Stream", "stream_unary": "Collect", "stream_stream": "Both"}[kind]
    with serve(ISSUER.guard()) as address:
        said = ask(address, f"/{grpc_app.SERVICE}/{name}", GOOD, kind)
        assert said.status is grpc.StatusCode.OK
        assert said.message.count(b'"ada"') == (1 if kind == "stream_unary" else 2)
        refused = ask(address, f"/{grpc_app.SERVICE}/{name}", (), kind)
        assert (refused.status, refused.message) == (grpc.StatusCode.UNAUTHENTICATED, b"")
        assert refused.told[PROBLEM_CODE] == "token_missing"


def test_what_methods_without_a_decorator_need(serve: Any) -> None:
    """As the interceptor says, but for those that it names as public; a decorator says otherwise for its method."""
    with serve(ISSUER.guard(), scopes="orders:read") as address:
        assert ask(address, f"/{grpc_app.SERVICE}/Needs", GOOD).status is grpc.StatusCode.PERMISSION_DENIED
        assert ask(address, f"/{grpc_app.SERVICE}/Open", GOOD).status is grpc.StatusCode.OK
        assert ask(address, f"/{grpc_app.SERVICE}/Both", GOOD, "stream_stream").status is grpc.StatusCode.OK
        assert ask(address, f"/{grpc_app.SERVICE}/Unknown", GOOD).status is grpc.StatusCode.UNIMPLEMENTED
    for public in ("Needs", "*"):
        with serve(ISSUER.guard(), public=[f"/{grpc_app.SERVICE}/{public}"]) as address:
            assert ask(address, f"/{grpc_app.SERVICE}/Needs").user is None
            assert ask(address, f"/{grpc_app.SERVICE}/Admin").status is grpc.StatusCode.UNAUTHENTICATED
            assert ask(address, f"/{grpc_app.GROUP}/One").status is grpc.StatusCode.UNAUTHENTICATED


def test_callers_do_not_leak_between_calls(serve: Any) -> None:
    with serve(ISSUER.guard()) as address, ThreadPoolExecutor(8) as pool:

        def one(number: int) -> bool:
            user = None if number % 3 == 0 else f"user-{number}"
            metadata = [("authorization", ISSUER.headers(user)["Authorization"])] if user else ()
            return ask(address, f"/{grpc_app.SERVICE}/{'Maybe' if number % 2 else 'Open'}", metadata).user == (
                user if number % 2 else None
            )

        assert all(pool.map(one, range(60)))


def test_a_decorator_protects_without_an_interceptor(serve: Any) -> None:

    class Passes(grpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            return continuation(details)

    class PassesAsync(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            return await continuation(details)

    passes = Passes() if serve.func is grpc_app.in_threads else PassesAsync()
    with serve(ISSUER.guard(), passes) as address:
        assert ask(address, f"/{grpc_app.SERVICE}/Admin").told[PROBLEM_CODE] == "token_missing"
        assert ask(address, f"/{grpc_app.SERVICE}/Admin", GOOD).told[PROBLEM_CODE] == "role_missing"


def in_the_interceptor(method: Any, **given: Any) -> Any:
    """What an interceptor makes of a method."""
    handler = grpc.unary_unary_rpc_method_handler(method)
    details = type("Details", (), {"method": "/shop.Orders/It"})
    return GrpcGuard(ISSUER.guard()).interceptor(**given).intercept_service(lambda _: handler, details).unary_unary


class Context:
    """As much of a call as a guard sees."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self.metadata, self.trailing = metadata, ()

    def invocation_metadata(self) -> Any:
        return self.metadata

    def set_trailing_metadata(self, trailing: Any) -> None:
        self.trailing = trailing

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise PermissionError(code, details)


def test_a_cache_above_the_guard_does_not_answer_strangers() -> None:
    auth, kept = GrpcGuard(ISSUER.guard()), {}

    @auth.required()
    def method(request: bytes, context: Any) -> str:
        return get_caller().user_id

    @functools.wraps(method)
    def cached(request: bytes, context: Any) -> str:
        if "answer" not in kept:
            kept["answer"] = method(request, context)
        return kept["answer"]

    asked = in_the_interceptor(cached)
    assert asked(b"", Context(*GOOD)) == "ada"
    with pytest.raises(PermissionError):
        asked(b"", Context())


def test_a_stream_that_watches_its_caller_ends_with_the_log_out() -> None:
    """As the guide says, in a thread; the token is in another header."""
    issuer = Issuer()
    auth = GrpcGuard(issuer.guard(tokens_from=OtherHeader("x-access-token")))

    @auth.required()
    def method(request: bytes, context: Any) -> Iterator[str]:
        with get_caller().watch() as watch:
            while not watch.wait(0.01):
                yield "news"
        yield str(watch.code)

    context: Any = Context(("x-access-token", issuer.headers("ada", session_id="s")["Authorization"]))
    answers = method(b"", context)
    assert next(answers) == next(answers) == "news"
    issuer.revoke_session("s")
    assert list(answers)[-1] == "token_revoked"
    with pytest.raises(PermissionError):
        list(method(b"", Context()))


def test_a_stream_that_only_receives_ends_with_the_log_out() -> None:
    """As the guide says, in a thread: what comes afterwards is not carried out, and the client hears of it at once."""
    issuer, carried_out, sent = Issuer(), [], queue.SimpleQueue[bytes | None]()
    auth = GrpcGuard(issuer.guard())

    def collect(requests: Iterator[bytes], context: Any) -> bytes:
        with get_caller().watch() as watch:
            watch.call_when_over(context.cancel)
            for each in requests:
                if watch.over:
                    break
                carried_out.append(each)
        return b""

    server = grpc.server(ThreadPoolExecutor(1), interceptors=[auth.interceptor()])
    methods = {"Collect": grpc.stream_unary_rpc_method_handler(collect)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Orders", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        token = issuer.headers("ada", session_id="s")["Authorization"]
        call = channel.stream_unary("/shop.Orders/Collect").future(
            iter(sent.get, None), metadata=[("authorization", token)], timeout=60
        )
        sent.put(b"before")
        while not carried_out and not call.done():
            time.sleep(0.01)
        issuer.revoke_session("s")
        sent.put(b"after")
        assert call.exception().code() is grpc.StatusCode.CANCELLED
        sent.put(None)
    server.stop(None).wait(30)
    assert carried_out == [b"before"]


def test_slips() -> None:
    auth = GrpcGuard(ISSUER.guard())

    def method(request: bytes, context: Any) -> bytes:
        return b"in"

    def slip(request: bytes, context: Any) -> bytes:
        auth.required()
        return b"in"

    with pytest.raises(TypeError, match=r"the parentheses are missing: write @auth\.required\(\)"):
        auth.required(method)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="what is needed is given by name"):
        auth.optional("admin")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has a guard and is public"):
        auth.public(auth.required()(method))
    with pytest.raises(TypeError, match="decorates functions; for the class"):
        auth.required()(Context)  # type: ignore[arg-type]
    for name in ("/shop.Orders", "shop.Orders/List", "/*", "/shop.Orders/*/x", ""):
        with pytest.raises(ValueError, match="a public method is"):
            auth.interceptor(public=[name])
    with pytest.raises(TypeError, match="public is a list of texts"):
        auth.interceptor(public="/shop.Orders/List")
    with pytest.raises(ValueError, match="roles are empty"):
        auth.interceptor(roles="")
    with pytest.raises(TypeError, match="optional is True or False"):
        auth.aio_interceptor(optional=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="GrpcGuard takes a Guard"):
        GrpcGuard(auth)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="checks nothing where it is called for a request"):
        in_the_interceptor(slip)(b"", Context(*GOOD))
    with pytest.raises(TypeError, match="which take a request and a context"):
        auth.required()(method)(b"", None)
    with pytest.raises(RuntimeError, match="This method has no caller"):
        get_caller()


def test_a_decorator_whose_result_is_thrown_away_raises_there() -> None:
    """A server without an interceptor would never ask, and one with it would forget the role."""
    auth = GrpcGuard(ISSUER.guard())

    class Orders:
        def List(self, request: bytes, context: Any) -> bytes:
            return b"in"

    def admins() -> Any:
        return auth.required(roles="admin")

    with pytest.raises(RuntimeError, match="is thrown away here"):
        auth.required(roles="admin")
    with pytest.raises(RuntimeError, match="is thrown away here"):
        auth.optional()(Orders.List)
    with pytest.raises(RuntimeError, match="is thrown away here"):
        admins()
    kept = admins()
    with pytest.raises(RuntimeError, match="is thrown away here"):
        kept(Orders.List)
    Orders.List = kept(Orders.List)  # type: ignore[method-assign]
    with pytest.raises(PermissionError):
        in_the_interceptor(Orders().List)(b"", Context(*GOOD))


def test_a_copied_mark_opens_nothing() -> None:
    """`functools.wraps` takes it along to whatever it decorates; by name the interceptor opens that all the same."""
    auth = GrpcGuard(ISSUER.guard())

    @auth.public
    def prices(request: bytes, context: Any) -> bytes:
        return b"7"

    @functools.wraps(prices)
    def other(request: bytes, context: Any) -> bytes:
        return b"in"

    class Orders:
        Prices = auth.public(lambda self, request, context: b"7")
        Other = functools.wraps(prices)(lambda self, request, context: b"in")

    for each in (other, Orders().Other):
        with pytest.raises(RuntimeError, match=r"'/shop.Orders/It'.* write @auth.public above the other decorators"):
            in_the_interceptor(each)
        assert in_the_interceptor(each, public=["/shop.Orders/It"])(b"", Context()) == b"in"
    for each in (prices, Orders().Prices, auth.public(other)):
        assert in_the_interceptor(each)(b"", Context())


def test_the_other_servers_interceptor_opens_nothing() -> None:
    auth = GrpcGuard(ISSUER.guard())
    with grpc_app.in_threads(auth.guard, auth.aio_interceptor()) as address:
        assert ask(address, f"/{grpc_app.SERVICE}/Needs", GOOD).status is grpc.StatusCode.UNKNOWN

    async def mixed_up() -> None:
        grpc.aio.server(interceptors=[auth.interceptor()])

    with pytest.raises(ValueError, match="Interceptor must be ServerInterceptor"):
        asyncio.run(mixed_up())


GUIDE = (ROOT / "docs" / "guides" / "protect-grpc.md").read_text("utf-8")


def test_the_snippet_of_the_guide(issuer: Service) -> None:
    """As it stands, but for the address of the service and the port."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    module = ModuleType("guide_grpc")
    exec(compile(placed(code, issuer.url), "protect-grpc.md", "exec", dont_inherit=True), vars(module))
    server, port = module.serve("127.0.0.1:0")
    try:
        assert ask(f"127.0.0.1:{port}", "/shop.Orders/List").told[PROBLEM_CODE] == "token_missing"
        token = issuer.token(user_id="ada", audience=issuer.url, claims={"name": "Ada"})
        metadata = [("authorization", f"Bearer {token}")]
        assert ask(f"127.0.0.1:{port}", "/shop.Orders/List", metadata).message == b"Welcome, Ada: orders of ada"
        assert ask(f"127.0.0.1:{port}", "/shop.Orders/Prices").message == b"7"
        assert ask(f"127.0.0.1:{port}", "/shop.Orders/Stock", metadata).told[PROBLEM_CODE] == "role_missing"
    finally:
        server.stop(None).wait(10)
        module.auth.guard.stop()
