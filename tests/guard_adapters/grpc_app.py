"""The API of `apps` as methods of gRPC. Messages are JSON, so that no generated code is needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.guard_adapters.apps import NEEDS, seen
from watchword.guard import Guard
from watchword.guard.grpc import GrpcGuard, find_caller

SERVICE = "shop.Orders"
GROUP = "shop.Group"


def answer() -> bytes:
    return json.dumps(seen(find_caller())).encode()


def in_needs(auth: GrpcGuard, servicer: type) -> Any:
    """The servicer, with the methods of single needs."""
    for path, asked in NEEDS.items():
        setattr(servicer, path[1:].capitalize(), auth.required(**asked)(vars(servicer)["Needs"]))
    return servicer()


def orders(auth: GrpcGuard) -> Any:
    """The service for threads."""

    class Orders:
        @auth.public
        def Open(self, request: bytes, context: Any) -> bytes:
            return answer()

        def Needs(self, request: bytes, context: Any) -> bytes:
            return answer()

        @auth.optional()
        def Maybe(self, request: bytes, context: Any) -> bytes:
            return answer()

        def Stream(self, request: bytes, context: Any) -> Iterator[bytes]:
            for _ in range(2):
                yield answer()

        def Collect(self, requests: Iterator[bytes], context: Any) -> bytes:
            return b"".join(requests) + answer()

        @auth.required()
        def Both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            for each in requests:
                yield each + answer()

    return in_needs(auth, Orders)


def async_orders(auth: GrpcGuard) -> Any:
    """The service for an event loop."""

    class AsyncOrders:
        @auth.public
        async def Open(self, request: bytes, context: Any) -> bytes:
            return answer()

        async def Needs(self, request: bytes, context: Any) -> bytes:
            await asyncio.sleep(0)
            return answer()

        @auth.optional()
        def Maybe(self, request: bytes, context: Any) -> bytes:
            return answer()  # in a thread

        async def Stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
            for _ in range(2):
                await asyncio.sleep(0)
                yield answer()

        async def Collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
            return b"".join([each async for each in requests]) + answer()

        @auth.required()
        async def Both(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for each in requests:
                yield each + answer()

    return in_needs(auth, AsyncOrders)


def handlers(auth: GrpcGuard, orders: Any) -> list[Any]:
    """What a generated `add_OrdersServicer_to_server` makes."""
    kinds = {
        "Stream": grpc.unary_stream_rpc_method_handler,
        "Collect": grpc.stream_unary_rpc_method_handler,
        "Both": grpc.stream_stream_rpc_method_handler,
    }
    names = [name for name in dir(orders) if name[0].isupper()]
    methods = {name: kinds.get(name, grpc.unary_unary_rpc_method_handler)(getattr(orders, name)) for name in names}
    group = {"One": grpc.unary_unary_rpc_method_handler(auth.required(scopes="orders:read")(orders.Needs))}
    return [
        grpc.method_handlers_generic_handler(SERVICE, methods),
        grpc.method_handlers_generic_handler(GROUP, group),
    ]


@contextlib.contextmanager
def in_threads(guard: Guard, *interceptors: Any, **asked: Any) -> Iterator[str]:
    """A `grpc.server`; its address."""
    auth = GrpcGuard(guard)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=interceptors or [auth.interceptor(**asked)])
    server.add_generic_rpc_handlers(handlers(auth, orders(auth)))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(10)


@contextlib.contextmanager
def on_a_loop(guard: Guard, *interceptors: Any, **asked: Any) -> Iterator[str]:
    """A `grpc.aio.server` on an event loop in a thread; its address."""
    auth, loop = GrpcGuard(guard), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Any:
        made = interceptors or [auth.aio_interceptor(**asked)]
        server = grpc.aio.server(ThreadPoolExecutor(2), interceptors=made)
        server.add_generic_rpc_handlers(handlers(auth, async_orders(auth)))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
