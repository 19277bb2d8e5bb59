"""Reading pickles that may be hostile.

A pickle is a program. Here its instructions are interpreted by code of our own, which knows those that build plain
values, and can call nothing but the constructors it is given: nothing is imported, no length is believed before the
bytes are there, and nothing but str and int is hashed (Python's own unpickler fails in the latter two).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pickletools import genops
from typing import IO, Any, TypeAlias

# A dictionary of a hundred arrays takes a tenth of these.
MAX_INSTRUCTIONS = 20_000
# Bits of a whole number: the largest that a harmless file holds is torch's mark of 80 bits.
MAX_BITS = 128

VALUES = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ]
)
"""Instructions that push their argument."""
IGNORED = frozenset(["PROTO", "FRAME"])
"""Instructions that say how the pickle was written, and change no value."""


Unchecked: TypeAlias = Any
"""What a pickle says at some place, of any type: who reads it must find out, and what does not fit raises there."""


class Refused(Exception):
    """A pickle that asks for more than it may have, or that is damaged; the message says what was found."""


class Built(ABC):
    """What a constructor may give to have its state set afterwards."""

    @abstractmethod
    def set_state(self, state: Unchecked) -> None:
        """Take the state; raises Refused, or any error that wrong types and values lead to."""


class Unpickler:
    """Reads plain values, and what the `admitted` names (`module.name`) stand for: constructors, or mere tokens.

    `persistent` admits references to what lies outside the pickle, as it turns them into values.
    """

    def __init__(
        self,
        admitted: Mapping[str, object],
        persistent: Callable[[object], object] | None = None,
        most: int = MAX_INSTRUCTIONS,
    ) -> None:
        self._admitted, self._persistent, self._most = admitted, persistent, most

    def load(self, stream: IO[bytes]) -> Unchecked:
        """The value of one pickle, behind which the stream then stands; raises Refused."""
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[object, object] = {}
        try:
            for count, (instruction, argument, _) in enumerate(genops(stream)):
                if instruction.name == "STOP":
                    return self._stack.pop()
                if count == self._most:
                    raise Refused(f"a pickle of more than {self._most} instructions")
                self._obey(instruction.name, argument)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Refused(f"a damaged pickle ({error})") from None
        raise Refused("a damaged pickle")

    def _obey(self, name: str, argument: object) -> None:
        if name in VALUES:
            if type(argument) is int and argument.bit_length() > MAX_BITS:
                raise Refused("a pickle with a number that is too large")
            self._push(argument)
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        elif name not in IGNORED:
            raise Refused(f"a pickle with the instruction {name}")

    def _since_mark(self) -> list[object]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _last(self, count: int) -> list[object]:
        return [self._stack.pop() for _ in range(count)][::-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _remember(self, place: object) -> None:
        # MEMOIZE has no argument: it takes the next place.
        if place is None:
            place = len(self._memo)
        self._memo[place] = self._stack[-1]

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        # By type, here and below: a subclass could have methods of its own.
        if type(target) is not list:
            raise TypeError("items where a list must stand")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise TypeError("keys and values where a dictionary must stand")
        target.update(_dictionary(items))

    def _name(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError("a name in another type than text")
        asked = f"{module}.{name}"
        if asked not in self._admitted:
            raise Refused(f"a pickle that asks for {asked}")
        self._push(self._admitted[asked])

    def _call(self) -> None:
        constructor, arguments = self._last(2)
        # Only admitted constructors can be called: nothing else on the stack is callable.
        if not callable(constructor) or type(arguments) is not tuple:
            raise TypeError("a call where a constructor and its arguments must stand")
        self._push(constructor(*arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, Built):
            raise TypeError("a state for a plain value")
        target.set_state(state)

    def _refer(self) -> None:
        if self._persistent is None:
            raise Refused("a pickle that refers to something outside")
        self._push(self._persistent(self._stack.pop()))


def _dictionary(items: list[object]) -> dict[str | int, object]:
    """A dictionary of keys and values in turn; only text and numbers are keys: another hash may take for ever."""
    content: dict[str | int, object] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str and type(key) is not int:
            raise TypeError("keys that are neither text nor numbers")
        content[key] = value
    return content


INSTRUCTIONS: Mapping[str, Callable[[Unpickler, Unchecked], None]] = {
    "NONE": lambda self, _: self._push(None),
    "NEWTRUE": lambda self, _: self._push(True),
    "NEWFALSE": lambda self, _: self._push(False),
    "MARK": lambda self, _: self._marks.append(len(self._stack)),
    "EMPTY_LIST": lambda self, _: self._push([]),
    "LIST": lambda self, _: self._push(self._since_mark()),
    "APPEND": lambda self, _: self._extend(self._last(1)),
    "APPENDS": lambda self, _: self._extend(self._since_mark()),
    "EMPTY_TUPLE": lambda self, _: self._push(()),
    "TUPLE": lambda self, _: self._push(tuple(self._since_mark())),
    "TUPLE1": lambda self, _: self._push(tuple(self._last(1))),
    "TUPLE2": lambda self, _: self._push(tuple(self._last(2))),
    "TUPLE3": lambda self, _: self._push(tuple(self._last(3))),
    "EMPTY_DICT": lambda self, _: self._push({}),
    "DICT": lambda self, _: self._push(_dictionary(self._since_mark())),
    "SETITEM": lambda self, _: self._set_items(self._last(2)),
    "SETITEMS": lambda self, _: self._set_items(self._since_mark()),
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"], lambda self, place: self._remember(place)),
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], lambda self, place: self._push(self._memo[place])),
    "GLOBAL": lambda self, asked: self._name(*asked.split(" ", 1)),
    "STACK_GLOBAL": lambda self, _: self._name(*self._last(2)),
    "REDUCE": lambda self, _: self._call(),
    "BUILD": lambda self, _: self._build(),
    "BINPERSID": lambda self, _: self._refer(),
}
