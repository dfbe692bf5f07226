"""How a word on a carried message is kept in a message's row: with who said it, as of its place in the log.

So the room can be folded later, when its author may have gone. Its row lives and ends as a message's does.
"""

import base64
from dataclasses import dataclass
from typing import Any

from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode
from pourparler_policies.fold.facts import State
from pourparler_policies.limits import KIB
from pourparler_policies.shuttle import Author, Event, Said, author_of
from pourparler_policies.shuttle.events import MAX_EVENT

from ..messages import Message


@dataclass(frozen=True, slots=True)
class Kept:
    """What the row holds, in the fold's canonical form."""

    author: Author
    event: Event


def kept(state: State, credential: bytes, event: Event) -> str:
    """As it is stored. Raises Void when nobody in the group has this credential."""
    return base64.b64encode(encode(Kept(author_of(state, credential), event))).decode()


def said(message: Message) -> Said:
    """What a row holds, in its place. Raises Void for what this device did not write."""
    found: Any = decode(Kept, base64.b64decode(message.text), MAX_EVENT + KIB)
    return Said(message.id, message.seq, message.received_at, found.author, found.event)
