"""JR2 (DESIGN 6.2): Ed25519 signatures that exist only all together, or not at all.

`docs/joint-release.md` has the argument, the attacks and the limits. The map, for k texts completed together:

    what is agreed  Round(nonce, texts, keys, Terms(sign_by, deposit_by, not_before, stop_before)); `round.sid`
    a party's steps R1 commit(round, key)               -> Committed   .message to the channel or relay
                    R2 open_(Committed, R1 of all)      -> Opened      .message to the other signers only
                    R3 presign(Opened, R2 of all, key)  -> Presigned   .message to the channel or relay
                       check(Presigned, R3 of all)      -> Ready       .case, .case.handle, .case.digits, .bundle
                    R4 sign(Ready), by a person         -> Signed      .message to the desk
                    R5 deposit(Signed, R4 of all)       -> Deposited   .message to the desk; .mask_messages to post
                       finish(Deposited, R5 of all)     -> Completed(text, keys, signatures) of each text
                       finish_from(Deposited, party, signatures)   when only one party's appeared somewhere
    states          one-use; .encode() for the vault and load(bytes); .sent: every message so far, the same bytes;
                    .erase() when withdrawn or lapsed
    messages        "of all": the others', in any order; one's own and repetitions may be among them. `peek(bytes)`
                    gives Kind, party (1..n in the order of the keys), tag; `size(kind, k)` the bytes
    the desk        Case.decode(bytes), .check_handle, .check_bundle; Terms.stage(now), .may_stop(now);
                    check_mask(case, R4), check_share(case, R5), complete(case, bundle, masks, shares)
    further signers commit_further(round) -> Committed, and everybody's open_(…, further=R1 of these, in order);
                    presign(…, None); then as every signer: a party whose rule asks several persons
    errors          AlreadyUsed, Incomplete / WrongRound, OutOfTurn, OwnAltered, CaseMismatch, PartyFault and its
                    kinds with `.party`; none proves anything about a party (`errors.py`)
    denying it      `forging.forge(round)` makes R1 to R3 of all parties without any key

The texts and what stands in them are the business of `pourparler_crypto.note`; the keys are `ReleaseKey`.
"""

from pourparler_crypto.jr2.case import (
    BUNDLE_SIZES,
    HANDLE_LENGTH,
    MAX_CASE,
    Bundle,
    Case,
    Mask,
    Share,
    check_mask,
    check_share,
    complete,
    open_bundle,
    seal_bundle,
)
from pourparler_crypto.jr2.errors import (
    AlreadyUsed,
    BadMask,
    BadOpening,
    BadPresignature,
    BadShare,
    CaseMismatch,
    Contradiction,
    Copied,
    Incomplete,
    OutOfTurn,
    OwnAltered,
    PartyFault,
    WrongRound,
)
from pourparler_crypto.jr2.round import (
    MAX_PARTIES,
    MAX_TEXT_BYTES,
    MAX_TEXTS,
    MIN_PARTIES,
    NONCE_LENGTH,
    Round,
    Stage,
    Terms,
)
from pourparler_crypto.jr2.signatures import Completed
from pourparler_crypto.jr2.states import (
    MAX_STATE,
    Committed,
    Deposited,
    Opened,
    Presigned,
    Ready,
    Signed,
    State,
    load,
)
from pourparler_crypto.jr2.steps import (
    check,
    commit,
    commit_further,
    deposit,
    finish,
    finish_from,
    open_,
    presign,
    sign,
)
from pourparler_crypto.jr2.wire import Kind, Message, peek, size

__all__ = [
    "BUNDLE_SIZES",
    "HANDLE_LENGTH",
    "MAX_CASE",
    "MAX_PARTIES",
    "MAX_STATE",
    "MAX_TEXTS",
    "MAX_TEXT_BYTES",
    "MIN_PARTIES",
    "NONCE_LENGTH",
    "AlreadyUsed",
    "BadMask",
    "BadOpening",
    "BadPresignature",
    "BadShare",
    "Bundle",
    "Case",
    "CaseMismatch",
    "Committed",
    "Completed",
    "Contradiction",
    "Copied",
    "Deposited",
    "Incomplete",
    "Kind",
    "Mask",
    "Message",
    "Opened",
    "OutOfTurn",
    "OwnAltered",
    "PartyFault",
    "Presigned",
    "Ready",
    "Round",
    "Share",
    "Signed",
    "Stage",
    "State",
    "Terms",
    "WrongRound",
    "check",
    "check_mask",
    "check_share",
    "commit",
    "commit_further",
    "complete",
    "deposit",
    "finish",
    "finish_from",
    "load",
    "open_",
    "open_bundle",
    "peek",
    "presign",
    "seal_bundle",
    "sign",
    "size",
]
