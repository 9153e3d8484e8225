"""Reads in the code that calls what becomes of what the call returns: it is thrown away, or awaited."""

from __future__ import annotations

from collections import deque
from dis import Instruction, get_instructions, stack_effect
from functools import lru_cache, partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, getattr_static
from opcode import opmap, opname
from types import CodeType, FrameType, FunctionType, MemberDescriptorType, MethodType
from typing import Any, Final

UNKNOWN: Final = object()
"""Stands for a value that only running the code would tell."""

_SUSPENDS: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR
_WIDTH: Final = 2
"""The bytes of one instruction."""
_CACHE, _SEND, _ON = (opmap[name] for name in ("CACHE", "SEND", "JUMP_FORWARD"))
_SILENT: Final = {_CACHE, opmap["NOP"], opmap.get("END_SEND")}
_BESIDE: Final = {"PUSH_NULL", "EXTENDED_ARG", "NOP", "KW_NAMES"}
_NOWHERE: Final = ((0, 0), (0, 0))
_NAMES: Final = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASS", "LOAD_FROM", "STORE_FAST_LOAD")
_ATTRIBUTES: Final = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
_OF_CONTAINERS: Final = frozenset().union(*map(dir, (list, dict, set, deque)))


def refuse_thrown_away(maker: FrameType, written: str, right: str) -> None:
    """Refuse to make what the calling code drops. :raises RuntimeError: it does.

    :param maker: the frame of the function that makes it.
    """
    if is_thrown_away(maker):
        raise RuntimeError(f"guard: what {written} returns is thrown away here, so it protects nothing: {right}")


def is_thrown_away(maker: FrameType) -> bool:
    """Return whether a statement drops what this frame returns, also by way of helpers that return it.

    It looks at what the code does next, most often at one byte. What a prompt prints is not dropped. What is called by
    compiled code, such as `map`, is none of the statement's.
    """
    called = _constructor(maker) if maker.f_code.co_name == "__init__" else maker
    frame = called.f_back
    while frame is not None:
        after = follows(frame)
        if not (after == "POP_TOP" or after.startswith("RETURN_")) or not _runs(frame, called):
            return False
        if after == "POP_TOP":
            return True
        called, frame = frame, frame.f_back
    return False


def _constructor(init: FrameType) -> FrameType:
    """Return the outermost `__init__` of the object that is made: a class may have been derived."""
    made, outer = _first_argument(init), init.f_back
    while outer is not None and outer.f_code.co_name == "__init__" and _first_argument(outer) is made:
        init, outer = outer, outer.f_back
    return init


def _first_argument(frame: FrameType) -> object:
    return frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""), UNKNOWN)


def follows(frame: FrameType) -> str:
    """Return the name of what the frame does after the call, or `await`, that it waits for."""
    code, at = frame.f_code.co_code, _running_at(frame)
    at = running(frame).argval if code[at] == _SEND else at + _WIDTH
    while code[at] in _SILENT or code[at] == _ON:
        at += _WIDTH * (1 + (code[at + 1] if code[at] == _ON else 0))
    return opname[code[at]]


def _running_at(frame: FrameType) -> int:
    """Return where the instruction begins that the frame is in the middle of."""
    code, at = frame.f_code.co_code, frame.f_lasti
    while at > 0 and code[at] == _CACHE:
        at -= _WIDTH
    return at


def _runs(frame: FrameType, called: FrameType) -> bool:
    """Return whether the frame itself calls, or awaits, the called one: compiled code between them has no frame."""
    current = running(frame)
    if called.f_code.co_flags & _SUSPENDS:
        return current.opname == "SEND"
    if not current.opname.startswith("CALL"):
        return False
    name, value = callee(frame, current)
    if value is UNKNOWN:
        return name not in _OF_CONTAINERS
    return _is_code_of(called.f_code, value)


def _is_code_of(code: CodeType, value: Any) -> bool:
    """Return whether this code runs when a value is called."""
    while _is_a(value, partial):
        value = value.func
    if _is_a(value, MethodType, staticmethod, classmethod):
        value = value.__func__
    if _is_a(value, FunctionType):
        # `made.__init__(…)` is written about an object that is kept.
        return value.__code__ is code and code.co_name != "__init__"
    runs = (type(value), "__call__"), *((value, name) for name in ("__init__", "__new__") if _is_a(value, type))
    return any(getattr(getattr(owner, name, None), "__code__", None) is code for owner, name in runs)


def _is_a(value: object, *kinds: type) -> bool:
    """Return whether a value is of a class, without `isinstance`, which asks a proxy what it stands for."""
    return issubclass(type(value), kinds)


# What is awaited -----------------------------------------------------------------------------------------------------

_AWAIT_LATER: Final = {
    ("ninja.operation", "Operation._run_authentication"),
    ("ninja.operation", "AsyncOperation._run_authentication"),
    ("anyio.abc._tasks", "call_for_coroutine"),
    ("anyio._backends._asyncio", "TaskGroup._spawn"),
    ("anyio.from_thread", "BlockingPortal._call_func"),
    ("asgiref.sync", "AsyncToSync.__call__"),
}
"""Call something, keep what it returns, and await that."""
_PASS_ON: Final = {
    ("asyncio.tasks", "gather"),
    ("asyncio.tasks", "wait_for"),
    ("asyncio.tasks", "shield"),
    ("asyncio.tasks", "ensure_future"),
    ("asyncio.tasks", "create_task"),
    ("asyncio.base_events", "BaseEventLoop.create_task"),
}
"""Take something to await, and return what has to be awaited in its place."""
_WAIT: Final = {
    ("asyncio.runners", "run"),
    ("asyncio.runners", "Runner.run"),
    ("asyncio.base_events", "BaseEventLoop.run_until_complete"),
    ("asyncio.taskgroups", "TaskGroup.create_task"),
}
"""Take something, and wait for it themselves; a group of tasks does so at its end."""
_FROM_THREADS: Final = {("asyncio.tasks", "run_coroutine_threadsafe")}
"""Return something whose `.result()` waits."""
_OF_LOOPS: Final = {"create_task": _PASS_ON, "run_until_complete": _WAIT}
"""Names of methods, for event loops that are not Python's own, or that no name leads to."""
_STEPS: Final = (
    "BUILD_LIST", "BUILD_TUPLE", "LIST_", "CALL_INTRINSIC_1", "PRECALL", "LOAD_CONST",
    "JUMP_", "SWAP", "END_FOR", "STORE_FAST",
)  # fmt: skip
"""Only build the arguments of a call. What a list comprehension has overwritten is stored again."""
_STORED: Final = {"STORE_FAST", "STORE_FAST_LOAD_FAST"}
_LISTS: Final = {"BUILD_LIST", "BUILD_TUPLE"}
_LOADS: Final = ("LOAD_", "BUILD_", "PUSH_NULL")
_LEAVES_WITH: Final = ["SWAP", "LOAD_CONST", "LOAD_CONST", "LOAD_CONST", "CALL", "POP_TOP"]
"""Calls `__exit__` under a value that is returned."""
_BY_NAME: Final = ("BUILD_MAP", "BUILD_CONST_KEY_MAP", "DICT_MERGE")


def is_awaited(called: FrameType) -> bool:
    """Return whether what this frame returns is awaited: at once, through helpers that return it, or by asyncio.

    What is kept in a variable is awaited if that is the next thing. Everything else counts as forgotten.
    """
    frame = called.f_back
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_qualname) in _AWAIT_LATER:
            return follows(frame) != "POP_TOP"
        awaited = _awaits(frame, called)
        if awaited is not None:
            return awaited
        called, frame = frame, frame.f_back
    return False


def _awaits(frame: FrameType, called: FrameType) -> bool | None:
    """Return whether a frame awaits what the called one returns; None: it returns that itself."""
    call: Instruction | None = running(frame)
    if not _runs(frame, called):  # as `gather(*map(…))` does, and `gather(*(… for …))`
        call = _taking(frame, call) if call is not None and not call.opname.startswith("CALL") else call
        if call is None or (found := _known(frame, call)) not in (_PASS_ON, _WAIT):
            return False
        if found is _WAIT:
            return True
    return _awaits_result(frame, call)


def _awaits_result(frame: FrameType, call: Instruction | None) -> bool | None:
    while call is not None and call.opname != "SEND":
        next_one = _after(frame, call)
        after = "" if next_one is None else next_one.opname
        if after == "GET_AWAITABLE":
            return True
        if after.startswith("RETURN_"):
            return False if frame.f_code.co_flags & CO_COROUTINE else None
        if (frame.f_code.co_name, after) in {("<genexpr>", "YIELD_VALUE"), ("<listcomp>", "LIST_APPEND")}:
            return None
        if next_one is not None and after in _STORED:
            call = _read_again(frame, next_one)
            continue
        call = _taking(frame, call)
        if call is not None and call.opname in _LISTS:
            stored = _after(frame, call)
            read = None if stored is None else _read_again(frame, stored)
            call = None if read is None else _taking(frame, read)
        if call is not None and (found := _known(frame, call)) is not _PASS_ON:
            return found is _WAIT or (found is _FROM_THREADS and _calls_result(_after(frame, call)))
    return False


def _after(frame: FrameType, call: Instruction) -> Instruction | None:
    """Return what comes next; to leave a `with` is nothing."""
    listed, at = instructions(frame.f_code), call.offset + 1
    for index, each in enumerate(listed):
        if each.offset >= at:
            leaves = [one for one in listed[index : index + 7] if one.opname != "PRECALL"][:6]
            if [one.opname for one in leaves] == _LEAVES_WITH:
                at = leaves[-1].offset + 1
            elif each.opname == "JUMP_FORWARD":
                at = each.argval
            else:
                return each
    return None


def _read_again(frame: FrameType, stored: Instruction) -> Instruction | None:
    """Return what reads a variable that was just written, if nothing in between could fail or go elsewhere."""
    if stored.opname == "STORE_FAST_LOAD_FAST":
        return stored if len(set(stored.argval)) == 1 else None
    for each in instructions(frame.f_code):
        if each.offset > stored.offset:
            if each.opname.startswith("LOAD_FAST") and each.argval == stored.argval:
                return each
            if not each.opname.startswith(_LOADS):
                return None
    return None


def _is_stored(frame: FrameType, made: Instruction) -> bool:
    stored = _after(frame, made)
    return stored is not None and stored.opname == "STORE_FAST"


def _calls_result(each: Instruction | None) -> bool:
    """Return whether an instruction begins `.result(…)`."""
    if each is None or each.argval != "result":
        return False
    return each.opname == "LOAD_METHOD" or (each.opname == "LOAD_ATTR" and bool((each.arg or 0) & 1))


def _taking(frame: FrameType, argument: Instruction) -> Instruction | None:
    """Return the call that takes a result among its arguments, by itself or in a list; or a list that is kept."""
    begins, ends = span(argument)
    if (begins, ends) == _NOWHERE:
        return _taking_in_order(frame, argument)
    named: list[Any] = []
    for each in instructions(frame.f_code):
        begun, ended = span(each)
        if each.offset <= argument.offset or begun > begins or ended < ends:
            continue
        if each.opname in _LISTS and _is_stored(frame, each):
            return each if not named else None
        if each.opname.startswith(_STEPS):
            continue
        if each.opname.startswith(_BY_NAME):
            named.append((begun, ended))
        else:
            taken = each.opname.startswith("CALL") and all(one == (begun, ended) for one in named)
            return each if taken else None
    return None


def _known(frame: FrameType, call: Instruction) -> set[tuple[str, str]] | None:
    """Return the set of known functions to which the called one belongs."""
    if not call.opname.startswith("CALL"):
        return None
    name, value = callee(frame, call)
    if not _is_a(value, FunctionType):
        return _OF_LOOPS.get(name)
    place = value.__module__, value.__qualname__
    return next((each for each in (_PASS_ON, _WAIT, _FROM_THREADS) if place in each), None)


# What is called ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def instructions(code: CodeType) -> list[Instruction]:
    """Return what code consists of."""
    return [each for each in get_instructions(code) if each.opname not in _BESIDE]


def running(frame: FrameType) -> Instruction:
    """Return the instruction that the frame is in the middle of."""
    at = _running_at(frame)
    return next(each for each in instructions(frame.f_code) if each.offset == at)


def callee(frame: FrameType, call: Instruction) -> tuple[str, Any]:
    """Return name and value of what an instruction calls, as far as names lead there without running anything."""
    begins, ends = span(call)
    if (begins, ends) == _NOWHERE:
        return _callee_in_order(frame, call)
    before = [each for each in instructions(frame.f_code) if each.offset < call.offset and each.opname != "LOAD_CONST"]
    found = [each for each in before if span(each)[0] == begins and span(each)[1] < ends]
    # An instruction for two variables has the place of the first.
    found = found or [each for each in before if isinstance(each.argval, tuple) and "LOAD_FAST" in each.opname]
    return _loaded(frame, found[-1]) if found else ("", UNKNOWN)


def span(each: Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where the source of an instruction begins and ends, in lines and columns; nowhere, if Python kept none."""
    places = each.positions
    if places is None or None in places:
        return _NOWHERE
    return (places.lineno or 0, places.col_offset or 0), (places.end_lineno or 0, places.end_col_offset or 0)


def _loaded(frame: FrameType, each: Instruction) -> tuple[str, Any]:
    if each.opname.startswith(_NAMES):
        name = each.argval[-1] if isinstance(each.argval, tuple) else each.argval
        places = (frame.f_locals, frame.f_globals, frame.f_builtins)
        return name, next((names[name] for names in places if name in names), UNKNOWN)
    if each.opname not in _ATTRIBUTES:
        return "", UNKNOWN
    owner: Any = UNKNOWN
    if each.opname != "LOAD_SUPER_ATTR":
        listed = [one for one in instructions(frame.f_code) if one.offset < each.offset]
        owner = _loaded(frame, listed[-1])[1] if listed else UNKNOWN
    return each.argval, _attribute(owner, each.argval)


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute as it is kept: to ask a property would run it."""
    found = UNKNOWN if owner is UNKNOWN else getattr_static(owner, name, UNKNOWN)
    if _is_a(found, MemberDescriptorType) and not _is_a(owner, type):
        return getattr(owner, name, UNKNOWN)
    by_python = _is_a(getattr_static(type(found), "__get__", None), FunctionType)
    return UNKNOWN if by_python or _is_a(found, property) else found


# Where Python keeps no places in the source (`python -X no_debug_ranges`), the stack tells ----------------------------


@lru_cache(maxsize=256)
def _in_order(code: CodeType) -> list[Instruction]:
    return list(get_instructions(code))


def _turns(each: Instruction) -> bool:
    """Return whether the next instruction may be elsewhere."""
    return "JUMP" in each.opname or each.opname.startswith(("FOR_", "SEND", "RETURN_", "YIELD_", "RAISE", "RERAISE"))


def _taking_in_order(frame: FrameType, argument: Instruction) -> Instruction | None:
    depth = 1  # of what is on the stack from the argument on
    for each in _in_order(frame.f_code):
        if each.offset <= argument.offset:
            continue
        if _turns(each) or each.opname.startswith("STORE_"):
            return None
        listed = each.opname in _LISTS and (each.arg or 0) >= depth
        if listed and _is_stored(frame, each):
            return each
        depth += stack_effect(each.opcode, each.arg)
        if depth < 1 and (listed or each.opname == "LIST_EXTEND"):
            depth = 1  # the list is in its place
        elif depth < 1 and each.opname != "PRECALL":
            return each if each.opname.startswith("CALL") else None
    return None


def _callee_in_order(frame: FrameType, call: Instruction) -> tuple[str, Any]:
    listed = [each for each in _in_order(frame.f_code) if each.offset < call.offset]
    if listed and listed[-1].opname == "PRECALL":
        listed.pop()
    given = call.arg or 0
    if call.opname == "CALL_FUNCTION_EX":
        given = 1 + (given & 1)
    elif call.opname == "CALL_KW":
        given += 1
    depth = 0
    while listed and not _turns(each := listed.pop()):
        if depth == -given and each.opname != "PUSH_NULL":
            return _loaded(frame, each)
        if each.opname != "PUSH_NULL" or depth != -given:
            depth -= stack_effect(each.opcode, each.arg)
    return "", UNKNOWN
