"""JR2's step under each stage of `release/device.py`: from what was kept to what is kept. Used by `signing.py`.

Each reads the messages that it needs from the log, and raises what JR2 raises; the caller saves what it returns in the
transaction that saw the cue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from pourparler_crypto import jr2
from pourparler_crypto.encoding import unlp
from pourparler_crypto.jr2 import Deposited
from pourparler_crypto.jr2 import State as Jr2
from pourparler_policies.release.device import Own, Stage

if TYPE_CHECKING:
    from .signing import Kept, Signing

FURTHER: Final = -1  # as a line: a further signer's, who has no key
S = TypeVar("S", bound=Jr2)
How = Callable[["Signing", "Kept", Own], "Kept"]


def _as(kind: type[S], kept: Kept) -> S:
    """The JR2 state of a stage; the tables and JR2 walk in step, so another kind is a defect of ours."""
    state = kept.jr2
    if not isinstance(state, kind):
        raise TypeError(f"a stage {kept.own.stage} with another state")
    return state


def erased(_: Signing, kept: Kept, own: Own) -> Kept:
    """Where no step is named: nothing that a stage held is left."""
    return replace(kept, own=own, state=b"", masks=b"", heard=b"")


def _revealed(signing: Signing, kept: Kept, own: Own) -> Kept:
    opened = jr2.open_(_as(jr2.Committed, kept), *signing.signers("first"))
    return replace(kept, own=own, state=opened.encode())


def _prepared(signing: Signing, kept: Kept, own: Own) -> Kept:
    state = _as(jr2.Opened, kept)
    key = signing.own_line(state.round.keys)[1] if kept.line != FURTHER else None
    parties, further = signing.signers("second")
    return replace(kept, own=own, state=jr2.presign(state, parties + further, key).encode())


def _asked(signing: Signing, kept: Kept, own: Own) -> Kept:
    parties, further = signing.signers("third")
    ready = jr2.check(_as(jr2.Presigned, kept), parties + further)
    return replace(kept, own=own, state=ready.encode(), handle=ready.case.handle, bundle=ready.bundle)


def _signed(_: Signing, kept: Kept, own: Own) -> Kept:
    return replace(kept, own=own, state=jr2.sign(_as(jr2.Ready, kept)).encode())


def _withdrawn(_: Signing, kept: Kept, own: Own) -> Kept:
    # Its lock is erased: without its y no signature of anybody can ever exist. R4 shows the desk whose word it is.
    state = _as(jr2.Signed, kept)
    return replace(kept, own=own, state=state.case.encode(), masks=state.message)


def _complete(_: Signing, kept: Kept, own: Own) -> Kept:
    if isinstance(kept.jr2, Deposited):  # asked again, and yes
        return replace(kept, own=own)
    state = _as(jr2.Signed, kept)
    deposited = jr2.deposit(state, unlp(kept.heard, state.signers))
    return replace(kept, own=own, state=deposited.encode(), masks=kept.heard)


def _same(_: Signing, kept: Kept, own: Own) -> Kept:
    return replace(kept, own=own)


def _too_late(_: Signing, kept: Kept, own: Own) -> Kept:
    return replace(kept, own=own, state=b"", masks=kept.heard)


HOW: Final[dict[Stage, How]] = {
    Stage.REVEALED: _revealed,
    Stage.PREPARED: _prepared,
    Stage.ASKED: _asked,
    Stage.SIGNED: _signed,
    Stage.WITHDRAWN: _withdrawn,
    Stage.COMPLETE: _complete,
    Stage.AGAIN: _complete,
    Stage.WAITING: _same,
    Stage.STOPPING: _same,
    Stage.UNLOCKED: _same,
    Stage.TOO_LATE: _too_late,
}
