"""For tests of equality: the same values under other names, or built in another order."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


class Renaming:
    """Other names for the parties: who makes one fills in what follows from them, `held`: every card, seat, digest."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.held: dict[bytes, bytes] = {}

    def __call__(self, value: Any) -> Any:
        """The value, with every name and everything held replaced."""
        if type(value) is str:
            return self.names.get(value, value)
        if isinstance(value, bytes):
            return self.held.get(value, value)
        if isinstance(value, tuple):
            return tuple(map(self, value))
        if isinstance(value, frozenset):
            return frozenset(map(self, value))
        if isinstance(value, Mapping):
            return {self(key): self(held) for key, held in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return type(value)(*(self(getattr(value, field.name)) for field in fields(value)))
        return value


def scrambled(value: Any) -> Any:
    """The same value with every mapping and set built in the opposite order."""
    if isinstance(value, tuple):
        return tuple(map(scrambled, value))
    if isinstance(value, frozenset):
        return frozenset(reversed([scrambled(entry) for entry in value]))
    if isinstance(value, Mapping):
        return dict(reversed([(scrambled(key), scrambled(held)) for key, held in value.items()]))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(*(scrambled(getattr(value, field.name)) for field in fields(value)))
    return value
