"""Slips with gRPC that are found when the interceptor is made."""

from __future__ import annotations

from typing import Any

import pytest

from watchword.guard.grpc import GrpcGuard
from watchword.testing import Issuer

ISSUER = Issuer()
ORDERS = """
import functools

def logged(method):
    @functools.wraps(method)
    def called(self, request, context):
        return method(self, request, context)
    return called

class Orders:
    @{first}
    @{second}
    def Prices(self, request, context):
        return b"7"
"""


def test_a_decorator_above_a_public_method_is_found_at_the_start() -> None:
    """Each call was refused. What is open by name does not need the mark."""
    auth = GrpcGuard(ISSUER.guard())
    module: dict[str, Any] = {"auth": auth}
    exec(ORDERS.format(first="auth.public", second="logged"), module)
    assert auth.interceptor()
    exec(ORDERS.format(first="logged", second="auth.public"), module)
    for make in (auth.interceptor, GrpcGuard(ISSUER.guard()).aio_interceptor):
        with pytest.raises(RuntimeError, match=r"'Orders.Prices'.* write @auth.public above the other decorators"):
            make()
        with pytest.raises(RuntimeError, match="copied"):
            make(public=["/shop.Orders/List"])
        for name in ("/shop.Orders/Prices", "/shop.Orders/*"):
            assert make(public=[name])
    module.clear()  # or it would be found by others
