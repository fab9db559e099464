"""What a method is: its name, its parameters and result as structs, who may call it, and the function that answers.

Here: the one description from which calls are bound and checked and the OpenRPC document is made. Not here: the
methods (`rpc.methods`), the list of all of them (`rpc.methods.catalogue`), calling them (`rpc.dispatch`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from rpc.errors import Code
from rpc.jsonrpc import Call
from rpc.ports import Services
from rpc.rights import Access

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")


class Work(Enum):
    """How a method is run: at once on the loop, in a thread (more than a few milliseconds), in a thread again and again
    until it has settled or its patience ends, or as a coroutine that waits."""

    INLINE = "inline"
    THREAD = "thread"
    PATIENT = "patient"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Unsettled(Generic[R]):
    """An answer of a patient method that may be better in a moment; it is given if it was not."""

    answer: R


@dataclass(frozen=True, slots=True)
class Notifies:
    """What a call makes the node send unasked: a notification's name and parameters, and what its result may be."""

    name: str
    params: type[msgspec.Struct]
    results: tuple[type[msgspec.Struct], ...]


@dataclass(frozen=True, slots=True)
class Method(Generic[P, R]):
    """One method of the API. `answer` is a plain function, or for `Work.WAITING` a coroutine function.

    `wait_ms` is the patience of a method of `Work.PATIENT`. `quick` may read the whole body of a single call of this
    method at once; None settles nothing, and what it returns is as sound as what `rpc.jsonrpc` and `decoder` let pass.
    `govern` says whether parameters of a method of `Access.GOVERN` are governance alone: all that an officer may bring.
    A method that is `on_connection` is told by which connection it was called (`Services.here`), and may notify it.
    """

    name: str
    params: type[P]
    result: type[R]
    summary: str
    description: str
    access: Access
    work: Work
    errors: tuple[Code, ...]
    answer: Callable[[Services, P], R | Unsettled[R] | Awaitable[R]]
    decoder: msgspec.json.Decoder[P] = field(repr=False)
    wait_ms: int = 0
    quick: Callable[[bytes], Call | None] | None = None
    govern: Callable[[Any], bool] | None = None  # Any: whatever the method's quick way or decoder made
    on_connection: bool = False
    notifies: Notifies | None = None


AnyMethod = Method[Any, Any]  # Any: a table of methods cannot name each one's types


def method(
    name: str,
    *,
    params: type[P],
    result: type[R],
    errors: tuple[Code, ...] = (),
    in_thread: bool = False,
    access: Access = Access.READ,
) -> Callable[[Callable[[Services, P], R]], Method[P, R]]:
    """Make a reading method of a plain function; its docstring's first line is the summary of the document."""

    def describe(answer: Callable[[Services, P], R]) -> Method[P, R]:
        work = Work.THREAD if in_thread else Work.INLINE
        return _method(name, params, result, access, work, errors, answer)

    return describe


def connection_method(
    name: str,
    *,
    params: type[P],
    result: type[R],
    errors: tuple[Code, ...] = (),
    notifies: Notifies | None = None,
) -> Callable[[Callable[[Services, P], R]], Method[P, R]]:
    """Make a reading method of a plain function that needs the connection by which it is called."""

    def describe(answer: Callable[[Services, P], R]) -> Method[P, R]:
        made = _method(name, params, result, Access.READ, Work.INLINE, errors, answer)
        return replace(made, on_connection=True, notifies=notifies)

    return describe


def patient_method(
    name: str,
    *,
    params: type[P],
    result: type[R],
    wait_ms: int,
    errors: tuple[Code, ...] = (),
    access: Access = Access.READ,
) -> Callable[[Callable[[Services, P], R | Unsettled[R]]], Method[P, R]]:
    """Make a reading method of a plain function that is asked again for up to `wait_ms` while it has not settled."""

    def describe(answer: Callable[[Services, P], R | Unsettled[R]]) -> Method[P, R]:
        return _method(name, params, result, access, Work.PATIENT, errors, answer, wait_ms)

    return describe


def waiting_method(
    name: str,
    *,
    params: type[P],
    result: type[R],
    access: Access,
    errors: tuple[Code, ...] = (),
    quick: Callable[[bytes], Call | None] | None = None,
    govern: Callable[[Any], bool] | None = None,  # Any: as `Method.govern`
) -> Callable[[Callable[[Services, P], Awaitable[R]]], Method[P, R]]:
    """Make a method of a coroutine function, which waits for the chain."""

    def describe(answer: Callable[[Services, P], Awaitable[R]]) -> Method[P, R]:
        return _method(name, params, result, access, Work.WAITING, errors, answer, 0, quick, govern)

    return describe


def _method(
    name: str,
    params: type[P],
    result: type[R],
    access: Access,
    work: Work,
    errors: tuple[Code, ...],
    answer: Callable[[Services, P], R | Unsettled[R] | Awaitable[R]],
    wait_ms: int = 0,
    quick: Callable[[bytes], Call | None] | None = None,
    govern: Callable[[Any], bool] | None = None,  # Any: as `Method.govern`
) -> Method[P, R]:
    text = (answer.__doc__ or "").strip()
    assert text, f"{name} has no docstring"
    summary, _, rest = text.partition("\n")
    description = " ".join(rest.split())
    decoder = msgspec.json.Decoder(params)
    return Method(
        name, params, result, summary, description, access, work, errors, answer, decoder, wait_ms, quick, govern
    )


def table(*groups: tuple[AnyMethod, ...]) -> dict[str, AnyMethod]:
    """Return the methods by name; a name taken twice is our own mistake and stops the program."""
    methods: dict[str, AnyMethod] = {}
    for item in (item for group in groups for item in group):
        assert item.name not in methods, f"method {item.name} defined twice"
        methods[item.name] = item
    return methods
