"""Elements of HTML and Atom. Text is escaped by its type: only `Markup`, which `element` makes, stands as it is.

There are no templates, so there is no place in which escaping can be forgotten.
"""

from html import escape
from typing import Final, Self

_EMPTY: Final = frozenset({"meta", "link", "br"})


class Markup(str):
    """Escaped already."""

    __slots__ = ()

    def __add__(self, other: str) -> Self:
        return type(self)(str.__add__(self, _escaped(other)))


def _escaped(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value, quote=True)


def element(name: str, /, *children: "str | Markup | None", **attributes: "str | bool | None") -> Markup:
    """One element. `class_` is the attribute `class`, `data_digest` is `data-digest`; None and False are left out.

    `name` and the attributes' names are constants of this package, never of a text.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value, quote=True)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Markup(f"<{name}{written}/>")
    return Markup(
        f"<{name}{written}>" + "".join(_escaped(one) for one in children if one is not None) + f"</{name}>"
    )


def joined(*parts: "str | Markup") -> Markup:
    """One after the other."""
    return Markup("".join(_escaped(one) for one in parts))
