"""Protects django-ninja operations, routers and APIs: `auth=…`. The guard is that of `watchword.guard.django`.

    api = NinjaAPI(auth=required())                                  all operations
    admin = Router(auth=required(roles="admin"))                     a group

    @api.get("/orders", auth=required(scopes="orders:read"))         one operation
    def orders(request):
        return {"for": request.caller.user_id}

    @api.get("/prices", auth=optional())                             `request.caller` is None without a token

`auth=None` leaves an operation open.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, Final, Never

from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import AsyncOperation, Operation
from ninja.security.base import AuthBase

from watchword.errors import WatchwordError
from watchword.guard import calls, handling, misuse, slips
from watchword.guard.asked import Names, checked_age, checked_names, needs_of
from watchword.guard.asking import Steps, ask
from watchword.guard.caller import Caller
from watchword.guard.django import DjangoSent, authorization_of, get_guard, kept_apart, response
from watchword.guard.guard import Guard
from watchword.guard.judging import blocking
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import PROBLEM, TOLD, Refusal
from watchword.guard.requirement import Requirement, needed
from watchword.guard.seen import SeenCallers

__all__ = ["AccessToken", "NoCaller", "RequestRefused", "answer", "optional", "required"]

_RIGHT: Final = "write auth=required(), or auth=optional(), from watchword.guard.ninja"
_HEADER: Final = "HTTP_AUTHORIZATION"
_SCHEME: Final = "AccessToken"


class RequestRefused(Exception):
    """Says that a guard refused a request; `refusal` is the answer.

    Register a handler for this class to answer otherwise.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class NoCaller:
    """Stands in `request.auth` for a request without a token, where one is optional. `request.caller` is None."""

    is_authenticated = False


_NO_CALLER: Final = NoCaller()


class AccessToken(AuthBase):
    """Checks what an operation needs. Its name is that of the OpenAPI security scheme.

    In a list of several put it last: it refuses, and does not let the next one be asked.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_bearerFormat = "JWT"  # noqa: N815  the name in OpenAPI
    openapi_description = "An access token of the Watchword service."

    def __init__(self, *, optional: bool, **asked: Any) -> None:
        super().__init__()
        self.is_async = True  # if there is a loop; a thread gets its result at once
        self.optional = optional
        self.scopes = sorted(asked["scopes"])
        self._needs = functools.lru_cache(maxsize=1)(lambda guard: needed(guard, **asked))

    def __call__(self, request: HttpRequest) -> Caller | NoCaller | Awaitable[Caller | NoCaller]:
        """Return the caller, in an async operation to be awaited. :raises RequestRefused: there is no good one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return blocking(self._finding(request))
        return ask(self._finding(request))

    def __bool__(self) -> Never:
        raise TypeError(f"guard: required() checks nothing where it is called for a request; {_RIGHT}")

    def _finding(self, request: HttpRequest) -> Steps[Caller | NoCaller]:
        needs, sent = self._needs(get_guard()), DjangoSent(request)
        _name_header(request)
        try:
            request.caller = yield from needs.finding(authorization_of(request), sent, optional=self.optional)
        except WatchwordError as error:
            raise RequestRefused(needs.refusal(error, sent)) from error
        return request.caller or _NO_CALLER


def _name_header(request: HttpRequest) -> None:
    """Give the header its name, which Ninja's test client writes as the test does."""
    if _HEADER not in request.META and (found := request.headers.get("Authorization")) is not None:
        request.META[_HEADER] = found


def required(
    *misplaced: Never,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
) -> AccessToken:
    """Return what an operation needs, for `auth=`.

    :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
    """
    return _made("required", misplaced, scopes, roles, max_age, api_keys)


def optional(
    *misplaced: Never,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
) -> AccessToken:
    """Return likewise, but let a request without a token pass. A bad token is still refused."""
    return _made("optional", misplaced, scopes, roles, max_age, api_keys)


def _made(
    name: str, misplaced: tuple[object, ...], scopes: Names, roles: Names, max_age: int | None, api_keys: bool
) -> AccessToken:
    if handling.for_a_request(sys._getframe(2)):  # noqa: SLF001
        raise RuntimeError(f"guard: {name}() checks nothing where it is called for a request; {_RIGHT}")
    slips.by_name(misplaced, name, f"guard: the parentheses are missing: write auth={name}()")
    made = AccessToken(
        optional=name == "optional",
        scopes=checked_names(scopes, "scopes") or EVERYONE,
        roles=checked_names(roles, "roles") or EVERYONE,
        max_age=checked_age(max_age),
        api_keys=needs_of(roles, scopes, max_age, api_keys).api_keys,
    )
    calls.refuse_thrown_away(sys._getframe(1), f"{name}(…)", _RIGHT)  # noqa: SLF001  that function's frame
    return made


def answer(_: HttpRequest, error: RequestRefused) -> HttpResponse:
    """Answer with the problem document."""
    return response(error.refusal)


_TO_BE_ASKED: Final = (Guard, Requirement, SeenCallers, AccessToken)
_NEVER: Final = (*_TO_BE_ASKED[:-1], Caller)
_REFUSING: Final = (Refusal, WatchwordError)
_NOT_LAST: Final = (
    "guard: in a list of several auth= nothing is asked after required() or optional(), which refuse themselves: put "
    "it last, and write one, required(…), with all that is needed"
)


def _refuse_slip(given: object) -> None:
    owner = getattr(given, "__self__", given)
    if given in (required, optional) or isinstance(owner, _NEVER):
        raise TypeError(f"guard: {misuse.shown(given)} stands in auth=…: {_RIGHT}")


# Ninja has no hook for any of these.


def _refusing_slips(set_auth: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(set_auth)
    def checked(self: Operation, auth: Any) -> None:
        listed = auth if isinstance(auth, list | tuple) else (auth,)
        for each in listed:
            _refuse_slip(each)
            slips.refuse_not_called(each)
        slips.refuse_not_called(self.view_func)
        if any(map(_is_ours, listed[:-1])):
            raise TypeError(_NOT_LAST)
        set_auth(self, auth)

    return checked


def _refusing_results(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what asks an operation's callbacks: whatever an application's own one returns counts, unless it is false."""

    @functools.wraps(run)
    def asked(self: Operation, request: HttpRequest) -> Any:
        found = run(self, request)
        return _refuse_result(request, found) if found is None else found

    @functools.wraps(run)
    async def asked_async(self: Operation, request: HttpRequest) -> Any:
        found = await run(self, request)
        return _refuse_result(request, found) if found is None else found

    return asked_async if iscoroutinefunction(run) else asked


def _refuse_result(request: HttpRequest, found: None) -> None:
    given = getattr(request, "auth", None)
    if type(given) is not Caller and (slips.checks_when_called(given, _TO_BE_ASKED) or slips.holds(given, _REFUSING)):
        what = "why a caller is refused: raise it" if slips.holds(given, _REFUSING) else "what was to be asked: ask it"
        raise TypeError(f"guard: a function in auth=… returns {what}; it let all callers in")
    return found


def _answering(on_exception: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @functools.wraps(on_exception)
    def answered(self: NinjaAPI, request: HttpRequest, exc: Exception) -> HttpResponse:
        if isinstance(exc, RequestRefused):
            handlers: dict[Any, Any] = self._exception_handlers
            handlers.setdefault(RequestRefused, answer)  # an application's own handler stays
        return on_exception(self, request, exc)

    return answered


def _of_callers(result: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what makes a response: caches must not give one caller's answer to others."""

    @functools.wraps(result)
    def made(self: Operation, request: HttpRequest, *args: Any) -> Any:
        found = result(self, request, *args)
        return kept_apart(request, found) if any(map(_is_ours, self.auth_callbacks)) else found

    return made


def _described(details: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Wrap what describes an operation: add scopes, refusals, and where no token is needed."""

    @functools.wraps(details)
    def described(self: OpenAPISchema, operation: Operation) -> dict[str, Any]:
        found = details(self, operation)
        ours = [each for each in operation.auth_callbacks if isinstance(each, AccessToken)]
        for each, row in zip(ours, (row for row in found.get("security", ()) if _SCHEME in row), strict=False):
            row[_SCHEME] = each.scopes
        if any(each.optional for each in ours):
            found["security"].insert(0, {})
        for status, text in TOLD.items() if ours else ():
            found["responses"].setdefault(int(status), {"description": text, "content": {PROBLEM: {}}})
        return found

    return described


def _is_ours(callback: object) -> bool:
    return isinstance(callback, AccessToken)


for _owner, _name, _wrap in (
    (Operation, "_set_auth", _refusing_slips),
    (Operation, "_run_authentication", _refusing_results),
    (AsyncOperation, "_run_authentication", _refusing_results),
    (NinjaAPI, "on_exception", _answering),
    (Operation, "_result_to_response", _of_callers),
    (OpenAPISchema, "operation_details", _described),
):
    setattr(_owner, _name, _wrap(getattr(_owner, _name)))
