"""Marks parameters that no request may fill, and those that were left out."""

from __future__ import annotations

from typing import Any, Final, Never


class _FromCode:
    """Marks parameters that no request may fill: FastAPI then refuses the route.

    Otherwise `Depends(guard.verify)` would take tokens from query strings, and `Depends(guard.require)` let all pass.
    """

    def __get_pydantic_core_schema__(self, *_: Any) -> Never:
        raise TypeError(NO_DEPENDENCY)


class _Everyone(tuple[str, ...]):
    """Says that no roles or scopes were written; an empty list is an error."""

    __slots__ = ()


NO_DEPENDENCY: Final = (
    "guard: this is no dependency for FastAPI; with auth = FastAPIGuard(guard) write "
    "`caller: Annotated[Caller, auth.required()]` or `dependencies=[auth.required()]`"
)
FROM_CODE: Final = _FromCode()
EVERYONE: Final = _Everyone()
