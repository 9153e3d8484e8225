"""What a verifier says by itself, for tests that put a detour in the place of `Verifier.verify`."""

from __future__ import annotations

from watchword.tokens import Verifier

alone_says = Verifier.verify


class Alone(Verifier):
    """A verifier of an attack, its state included, without the detour."""

    __slots__ = ()
    verify = alone_says

    @classmethod
    def with_all_of(cls, other: Verifier) -> Alone:
        made = cls.__new__(cls)
        for slot in Verifier.__slots__:
            setattr(made, slot, getattr(other, slot))
        return made
