"""Reads in the code that calls what becomes of what the call returns: it is thrown away, or awaited."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dis import Instruction, get_instructions, stack_effect
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, getattr_static
from operator import attrgetter
from types import CodeType, FrameType, FunctionType, MemberDescriptorType, MethodType
from typing import Any, Final

UNKNOWN: Final = object()  # stands for a value that only running the code would tell

_SUSPENDS: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR
_BESIDE: Final = {"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "KW_NAMES", "NOT_TAKEN"}
_NAMES: Final = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASS", "LOAD_FROM", "STORE_FAST_LOAD")
_READ_BY_NAME: Final = frozenset({"locals", "vars", "eval", "exec"})
_COLLECTIONS: Final = {"BUILD_TUPLE", "BUILD_LIST", "BUILD_SET"}
_ASKS: Final = ("JUMP_IF_", "POP_JUMP_", "TO_BOOL", "UNARY_NOT")  # for a truth, as `and` does, which drops the value
_ATTRIBUTES: Final = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
_OF_CONTAINERS: Final = frozenset().union(*map(dir, (list, dict, set, deque)))


def refuse_thrown_away(maker: FrameType, written: str, right: str) -> None:
    """Refuse to make what the calling code drops. :raises RuntimeError: it does.

    :param maker: the frame of the function that makes it.
    """
    if is_thrown_away(maker):
        raise RuntimeError(f"guard: what {written} returns is thrown away here, so it protects nothing: {right}")


def is_thrown_away(maker: FrameType) -> bool:
    """Return whether a statement, or `and`, drops what this frame returns, also by way of helpers that return it.

    What a prompt prints is not dropped. What is called by compiled code, such as `map`, is none of the statement's.
    """
    called = _constructor(maker) if maker.f_code.co_name == "__init__" else maker
    frame = called.f_back
    while frame is not None and _runs(frame, called):
        becomes = fate(frame)
        if not becomes.startswith("RETURN_"):
            return drops(becomes)
        called, frame = frame, frame.f_back
    return False


def drops(becomes: str) -> bool:
    """Return whether an instruction drops a value, perhaps after it asked whether that is true."""
    return becomes == "POP_TOP" or (becomes.startswith(_ASKS) and "NONE" not in becomes)


def fate(frame: FrameType) -> str:
    """Return the instruction that ends what the called code returns, also from a variable; empty: it is kept."""
    code = frame.f_code
    taker, depth = taken_by(code, running(frame))
    if taker is not None and taker.opname == "COPY" and (taker := _next(code, taker)).opname.startswith("STORE_"):
        return ""  # `:=`, unlike `and`
    if taker is not None and taker.opname in _COLLECTIONS:  # as a comma makes one, or brackets
        taker, _ = taken_by(code, taker)
        return "POP_TOP" if taker is not None and taker.opname == "POP_TOP" else ""
    if taker is None or not taker.opname.startswith("STORE_FAST") or _READ_BY_NAME.intersection(code.co_names):
        return "" if taker is None else taker.opname
    name, later = _stored(taker, depth), [each for each in instructions(code) if each.offset >= taker.offset]
    if any(each.opname.startswith("JUMP_BACKWARD") and each.argval <= taker.offset for each in later):
        return ""
    takers = [taken_by(code, each, deep)[0] for each in later if (deep := _reads(each, name))]
    if not takers and name in code.co_varnames[: code.co_argcount]:
        return "POP_TOP"  # as in `def protect(app): app = GuardMiddleware(app, guard)`
    fates = {"" if each is None else each.opname for each in takers}
    return fates.pop() if len(fates) == 1 else ""


def _stored(taker: Instruction, depth: int) -> str:
    name: str = taker.argval[depth - 1] if isinstance(taker.argval, tuple) else taker.argval
    return name


def _reads(each: Instruction, name: str) -> int:
    """Return how deep an instruction leaves a variable on the stack; 0: nowhere."""
    if "LOAD_FAST" not in each.opname or not isinstance(each.argval, tuple):
        return int("LOAD_FAST" in each.opname and each.argval == name)
    return 1 if each.argval[-1] == name else 2 if each.opname[0] == "L" and each.argval[0] == name else 0


def _constructor(init: FrameType) -> FrameType:
    """Return the outermost `__init__` of the object that is made: a class may have been derived."""
    made, outer = _first_argument(init), init.f_back
    while outer is not None and outer.f_code.co_name == "__init__" and _first_argument(outer) is made:
        init, outer = outer, outer.f_back
    return init


def _first_argument(frame: FrameType) -> object:
    return frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""), UNKNOWN)


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
    return issubclass(type(value), kinds)  # not `isinstance`, which asks a proxy what it stands for


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
_FROM_THREADS: Final = {("asyncio.tasks", "run_coroutine_threadsafe")}  # return something whose `.result()` waits
_OF_LOOPS: Final = {"create_task": _PASS_ON, "run_until_complete": _WAIT}
"""Names of methods, for event loops that are not Python's own, or that no name leads to."""
_LISTS: Final = {"BUILD_LIST", "BUILD_TUPLE", "LIST_APPEND", "LIST_EXTEND", "LIST_TO_TUPLE", "CALL_INTRINSIC_1"}
"""Put what is awaited into a list, or the list into another form."""
_HARMLESS: Final = ("LOAD_", "BUILD_", "PUSH_NULL", "STORE_FAST")  # a comprehension stores again what it overwrote


def is_awaited(called: FrameType) -> bool:
    """Return whether what this frame returns is awaited: at once, through helpers that return it, or by asyncio.

    What is kept in a variable is awaited if that is the next thing. Everything else counts as forgotten.
    """
    frame, keeps_errors = called.f_back, False
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_qualname) in _AWAIT_LATER:
            return fate(frame) != "POP_TOP"
        keeps_errors = keeps_errors or _names_it(frame.f_code.co_consts, "return_exceptions")
        awaited = _awaits(frame, called, keeps_errors=keeps_errors)
        if awaited is not None:
            return awaited
        called, frame = frame, frame.f_back
    return False


def _awaits(frame: FrameType, called: FrameType, *, keeps_errors: bool) -> bool | None:
    """Return whether a frame awaits what the called one returns; None: it returns that itself.

    :param keeps_errors: as `gather(…, return_exceptions=True)` does: then awaiting tells nothing until one looks.
    """
    code, call, listed = frame.f_code, running(frame), False
    if not _runs(frame, called) and call.opname != "LIST_EXTEND" and (found := _known(frame, call)) is not _PASS_ON:
        return found is _WAIT  # unlike `gather(*map(…))`, and `gather(*(… for …))`
    made: _Left | None = call, 1
    while made is not None:
        taker, depth = taken_by(code, *made)
        if taker is None:
            break
        if taker.opname == "GET_AWAITABLE":
            return not (keeps_errors and _is_dropped(code, taker))
        if taker.opname.startswith("RETURN_"):
            return False if listed or code.co_flags & CO_COROUTINE else None
        if (code.co_name, taker.opname) in {("<genexpr>", "YIELD_VALUE"), ("<listcomp>", "LIST_APPEND")}:
            return None
        if taker.opname in _LISTS or not taker.opname.startswith("CALL"):
            made, listed = _left_by(code, taker, depth), listed or taker.opname in _LISTS
        elif (found := _known(frame, taker)) is _PASS_ON:
            made, listed = (taker, 1), False
        else:
            return found is _WAIT or (found is _FROM_THREADS and _calls_result(taken_by(code, taker)[0]))
    return False


def _names_it(constants: tuple[Any, ...], name: str) -> bool:
    return any(each == name or (type(each) is tuple and name in each) for each in constants)


def _is_dropped(code: CodeType, awaits: Instruction) -> bool:
    """Return whether no one looks at what an `await` gives."""
    listed = instructions(code)
    after = listed[_index(listed, awaits.offset) :]
    taker, depth = taken_by(code, next(each for each in after if each.opname == "SEND"))
    if taker is None or not taker.opname.startswith("STORE_FAST") or _READ_BY_NAME.intersection(code.co_names):
        return taker is not None and taker.opname == "POP_TOP"
    name = _stored(taker, depth)
    return not any(_reads(each, name) for each in listed)


_Left = tuple[Instruction, int]  # what leaves a value on the stack, and how deep


def _left_by(code: CodeType, taker: Instruction, depth: int) -> _Left | None:
    """Return what leaves on the stack what an instruction took from there, by itself or in a list."""
    if taker.opname.startswith("STORE_FAST"):
        return _read_again(code, taker, _stored(taker, depth))
    after = _next(code, taker)
    if taker.opname == "COPY":  # `:=`
        return (after, 1) if after.opname.startswith("STORE_") else None
    if taker.opname == "LIST_APPEND":
        loops = after.opname.startswith("JUMP_BACKWARD")
        return (instructions(code)[_index(instructions(code), after.argval)], 1) if loops else None
    return (taker, 1) if taker.opname in _LISTS else None


def _read_again(code: CodeType, stored: Instruction, name: str) -> _Left | None:
    """Return what reads a variable that was just written, if nothing in between could fail or go elsewhere."""
    listed = instructions(code)
    index = _index(listed, stored.offset)
    while index < len(listed):
        each = listed[index]
        if deep := _reads(each, name):
            return each, deep
        goes_on = each is stored or (each.opname.startswith(_HARMLESS) and each.argval != name)
        if not goes_on and each.opname != "JUMP_FORWARD":
            return None
        index = _index(listed, each.argval) if each.opname == "JUMP_FORWARD" else index + 1
    return None


def _calls_result(each: Instruction | None) -> bool:
    """Return whether an instruction begins `.result(…)`."""
    if each is None or each.argval != "result":
        return False
    return each.opname == "LOAD_METHOD" or (each.opname == "LOAD_ATTR" and bool((each.arg or 0) & 1))


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


def callee(frame: FrameType, call: Instruction) -> tuple[str, Any]:
    """Return name and value of what an instruction calls, as far as names lead there without running anything."""
    listed = instructions(frame.f_code)
    index, depth, given = _index(listed, call.offset) - 1, 0, -_effect(call) - 1
    depths = {index + 1: depth}
    while index >= 0:
        each = listed[index]
        if each.opname.startswith("JUMP_BACKWARD"):  # over the loop
            index = _index(listed, each.argval)
            depth -= _effect(listed[index], jump=True)
        elif each.opname == "JUMP_FORWARD":  # over the second half of `… if … else …`
            depth = depths.get(_index(listed, each.argval), _UNREACHED)
        elif depth == -given and each.opname != "PUSH_NULL":
            return loaded(frame.f_code, each, frame.f_locals, frame.f_globals, frame.f_builtins)
        elif depth != -given:
            depth -= _effect(each)
        depths[index] = depth
        index -= 1
    return "", UNKNOWN


def loaded(code: CodeType, each: Instruction, *places: Mapping[str, Any]) -> tuple[str, Any]:
    """Return name and value of what an instruction loads, as far as names lead there."""
    if each.opname.startswith(_NAMES):
        name = each.argval[-1] if isinstance(each.argval, tuple) else each.argval
        return name, next((names[name] for names in places if name in names), UNKNOWN)
    if each.opname not in _ATTRIBUTES:
        return "", UNKNOWN
    owner = instructions(code)[_index(instructions(code), each.offset) - 1]
    known = UNKNOWN if each.opname == "LOAD_SUPER_ATTR" else loaded(code, owner, *places)[1]
    return each.argval, _attribute(known, each.argval)


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute as it is kept: to ask a property would run it."""
    found = UNKNOWN if owner is UNKNOWN else getattr_static(owner, name, UNKNOWN)
    if _is_a(found, MemberDescriptorType) and not _is_a(owner, type):
        return getattr(owner, name, UNKNOWN)
    by_python = _is_a(getattr_static(type(found), "__get__", None), FunctionType)
    return UNKNOWN if by_python or _is_a(found, property) else found


# What is on the stack ------------------------------------------------------------------------------------------------

_LOOPS: Final = {"SEND", "FOR_ITER"}
_UNREACHED: Final = 1 << 30
_ONLY_TAKES: Final = (
    "POP_", "STORE_", "DELETE_", "RAISE", "LIST_APPEND", "LIST_EXTEND", "SET_ADD", "SET_UPDATE",
    "MAP_ADD", "DICT_UPDATE", "DICT_MERGE", "END_FOR", "JUMP_IF_",
)  # fmt: skip
"""Puts nothing in place of what it takes. All others put one thing there."""
_TAKES_ONE: Final = (
    "LOAD_ATTR", "LOAD_METHOD", "LOAD_SPECIAL", "UNPACK_", "BEFORE_", "MATCH_", "STORE_FAST_LOAD", "COPY", "RETURN_",
)  # fmt: skip
"""Takes, or asks, what is on top, whatever else it puts there."""


_MOST_CODE: Final = 256
_listed: dict[int, tuple[CodeType, list[Instruction]]] = {}  # by identity: the hash of code is made anew each time


def instructions(code: CodeType) -> list[Instruction]:
    """Return what code consists of."""
    found = _listed.get(id(code))
    if found is None:
        if len(_listed) >= _MOST_CODE:
            _listed.clear()
        found = _listed[id(code)] = code, [each for each in get_instructions(code) if each.opname not in _BESIDE]
    return found[1]


def _index(listed: list[Instruction], offset: int) -> int:
    return bisect_left(listed, offset, key=attrgetter("offset"))


def running(frame: FrameType) -> Instruction:
    """Return the instruction that the frame is in the middle of."""
    listed = instructions(frame.f_code)
    return listed[_index(listed, frame.f_lasti + 1) - 1]


def _next(code: CodeType, each: Instruction) -> Instruction:
    listed = instructions(code)
    return listed[_index(listed, each.offset + 1)]


def taken_by(code: CodeType, made: Instruction, depth: int = 1) -> tuple[Instruction | None, int]:
    """Return what takes from the stack what an instruction has put there, and how deep; None: that cannot be told."""
    listed = instructions(code)
    index = _index(listed, made.argval if made.opname in _LOOPS else made.offset + 1)
    if made.opname == "FOR_ITER":  # the list that it fills
        depth = 2 + _effect(made, jump=True)
    while index < len(listed):
        each = listed[index]
        jumps = each.opname in _LOOPS or each.opname == "JUMP_FORWARD"
        effect = _effect(each, jump=jumps)
        if each.opname == "SWAP":
            depth = {1: each.arg or 0, each.arg: 1}.get(depth, depth)
        elif each.opname == "END_SEND" and depth == 1:
            pass  # of what has put it there
        elif each.opname.startswith("JUMP_BACKWARD"):
            break
        elif _takes(each, depth, effect):
            return each, depth
        else:
            depth += effect
        index = _index(listed, each.argval) if jumps else index + 1
    return None, 0


def _effect(each: Instruction, *, jump: bool = False) -> int:
    """Return by how much an instruction makes the stack higher."""
    if each.opname == "CALL":
        return -(each.arg or 0) - 1  # in Python 3.11 it shares that with another
    return stack_effect(each.opcode, each.arg, jump=jump)


def _takes(each: Instruction, depth: int, effect: int) -> bool:
    if each.opname == "JUMP_FORWARD":
        return False
    if each.opname.startswith(_TAKES_ONE):
        return depth == 1
    return depth <= (0 if each.opname.startswith(_ONLY_TAKES) else 1) - effect
