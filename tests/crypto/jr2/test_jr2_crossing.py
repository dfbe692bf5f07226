"""A round whose messages are carried by somebody who belongs to nobody: what the carrier can read, alter and make."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_crypto.encoding import lp, unlp
from pourparler_crypto.errors import Malformed, NotAuthentic, ProtocolError, UsageError
from pourparler_crypto.jr2 import Round, crossing
from pourparler_crypto.jr2.case import open_bundle
from pourparler_crypto.jr2.crossing import MAX_CROSSING, STEP, Crossing, hello, key_of
from pourparler_crypto.jr2.errors import CaseMismatch
from pourparler_crypto.jr2.states import Ready
from pourparler_crypto.jr2.testing import TERMS, TEXT, Party
from pourparler_crypto.jr2.wire import HEADER
from pourparler_crypto.releasekey import ReleaseKey

ID = b"arrangement 0001"
LATER = ("second", "third", "same")


class Signer:
    """One device: its release key, its ends, and its part of the round."""

    def __init__(self, number: int, key: ReleaseKey) -> None:
        self.number, self.key = number, key
        self.private, self.hello = hello()

    def begin(self, hellos: list[bytes], keys: list[bytes], text: bytes = TEXT) -> None:
        self.ends = Crossing.begin(self.private, self.number, [key_of(one) for one in hellos])
        self.about = Round(self.ends.nonce(ID), (text,), tuple(keys), TERMS)
        self.party = Party(self.about, self.key)
        self.party.begin()

    @property
    def sid(self) -> bytes:
        return self.about.sid

    def first(self, to: int) -> bytes:
        return self.ends.seal_first(self.sid, to, self.party.sent[0])

    def take_first(self, author: int, sealed: bytes) -> bytes:
        message, self.ends = self.ends.open_first(self.sid, author, sealed)
        return message


def two(text: bytes = TEXT, others: bytes = TEXT) -> tuple[Signer, Signer]:
    """Two signers who have exchanged their keys and commitments."""
    ada, ben = (Signer(number, ReleaseKey.generate()) for number in (1, 2))
    hellos, keys = [ada.hello, ben.hello], [ada.key.public, ben.key.public]
    ada.begin(hellos, keys, text)
    ben.begin(hellos, keys, others)
    return ada, ben


def met(ada: Signer, ben: Signer) -> tuple[bytes, bytes]:
    """The R1 of each, as the other one opened it."""
    to_ben, to_ada = ada.first(2), ben.first(1)
    return ben.take_first(1, to_ben), ada.take_first(2, to_ada)


def ready(ada: Signer, ben: Signer) -> list[bytes]:
    """R1 to R3 carried both ways; all that the carrier had in its hands."""
    seen = [ada.hello, ben.hello, ada.first(2), ben.first(1)]
    firsts = [ben.take_first(1, seen[2]), ada.take_first(2, seen[3])]
    sent = [ada.party.receive([firsts[1]]), ben.party.receive([firsts[0]])]
    for leg in ("second", "third"):
        carried = [ada.ends.seal(leg, ada.sid, 2, sent[0] or b""), ben.ends.seal(leg, ben.sid, 1, sent[1] or b"")]
        seen += carried
        opened = [ben.ends.open_(leg, ben.sid, 1, carried[0]), ada.ends.open_(leg, ada.sid, 2, carried[1])]
        sent = [ada.party.receive([opened[1]]), ben.party.receive([opened[0]])]
    return seen


def case_of(signer: Signer) -> Ready:
    state = signer.party.state
    assert isinstance(state, Ready)
    return state


def test_two_signers_reach_one_case_through_a_carrier() -> None:
    ada, ben = two()
    ready(ada, ben)
    assert case_of(ada).case.handle == case_of(ben).case.handle


def test_who_carries_openings_in_the_clear_can_open_the_bundle_and_ours_cannot() -> None:
    # Naive: R2 as it is. Its carrier has every rho, and with them the key of what the desk holds.
    ada, ben = two()
    seen = ready(ada, ben)
    state = case_of(ada)
    naive = [signer.party.sent[1][HEADER + 32 :] for signer in (ada, ben)]
    assert open_bundle(state.case, state.bundle, naive).round.texts == (TEXT,)
    # Ours: nothing of what crossed holds a rho, a Y, an R, a D or an ŝ, or anything that opens the bundle.
    secrets = [
        signer.party.sent[step][HEADER:][i : i + 32]
        for signer in (ada, ben)
        for step in (0, 1, 2)
        for i in (0, 32)
    ]
    assert not any(secret in one for secret in secrets for one in seen)
    with pytest.raises((CaseMismatch, ProtocolError)):
        open_bundle(state.case, state.bundle, [seen[4][:32], seen[5][:32]])


def test_all_that_crosses_has_one_size() -> None:
    ada, ben = two()
    assert {len(one) for one in ready(ada, ben)} == {STEP}


def test_who_was_shown_another_text_cannot_open_the_first_message() -> None:
    ada, ben = two(others=b"Another text.\n")
    with pytest.raises(NotAuthentic):
        ben.take_first(1, ada.first(2))


def test_a_carrier_that_exchanges_the_keys_of_a_round_splits_it_into_two_that_have_another_sid() -> None:
    ada, ben = (Signer(number, ReleaseKey.generate()) for number in (1, 2))
    false_ada, false_ben = Signer(1, ReleaseKey.generate()), Signer(2, ReleaseKey.generate())
    keys = [ada.key.public, ben.key.public]
    ada.begin([ada.hello, false_ben.hello], keys)
    ben.begin([false_ada.hello, ben.hello], keys)
    assert ada.sid != ben.sid
    with pytest.raises(NotAuthentic):
        ben.take_first(1, ada.first(2))


def test_a_carrier_cannot_make_a_later_message_even_after_it_has_made_a_first_one() -> None:
    """It knows every public value, and can seal an R1 of its own. What follows is under Ben's secret too."""
    ada, ben = two()
    forger = Crossing.begin(ben.private, 2, ben.ends.keys)  # for its bytes alone: drawn anew, so another N
    ada.take_first(2, forger.seal_first(ada.sid, 1, ben.party.sent[0]))
    made = b"an opening of the carrier's own"
    # It holds its own N, and not the one that Ada sealed to Ben.
    guess = Crossing(forger.private, 2, forger.keys, forger.drawn, (os.urandom(32), b""))
    with pytest.raises(NotAuthentic):
        ada.ends.open_("second", ada.sid, 2, guess.seal("second", ada.sid, 1, made))


@pytest.mark.parametrize("leg", LATER)
def test_what_is_altered_repeated_as_another_leg_or_turned_round_is_refused(leg: str) -> None:
    ada, ben = two()
    met(ada, ben)
    sealed = ada.ends.seal(leg, ada.sid, 2, b"message")
    assert ben.ends.open_(leg, ben.sid, 1, sealed) == b"message"
    for at in (0, 30, len(sealed) - 1):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(NotAuthentic):
            ben.ends.open_(leg, ben.sid, 1, altered)
    for other in set(LATER) - {leg}:
        with pytest.raises(NotAuthentic):
            ben.ends.open_(other, ben.sid, 1, sealed)
    with pytest.raises(NotAuthentic):  # Ada's own message as if Ben had sent it
        ada.ends.open_(leg, ada.sid, 2, sealed)


def test_a_recorded_round_fits_no_later_one_though_every_public_value_is_the_same() -> None:
    ada, ben = two()
    met(ada, ben)
    old = ben.ends.seal("second", ben.sid, 1, b"opening"), ben.first(1)
    again = Signer(1, ada.key)
    again.begin([again.hello, ben.hello], [ada.key.public, ben.key.public])
    assert again.sid != ada.sid
    with pytest.raises(NotAuthentic):
        again.take_first(2, old[1])
    with pytest.raises(UsageError):
        again.ends.open_("second", again.sid, 2, old[0])


def test_either_end_can_make_everything_that_the_other_one_sent_after_r1() -> None:
    """So none of it is evidence, not even together with the keys of this round."""
    ada, ben = two()
    met(ada, ben)
    as_ben = Crossing(b"", 2, ben.ends.keys, (ada.ends.received[1], b""), (ada.ends.drawn[1], b""))
    made = as_ben.seal("third", ada.sid, 1, b"never said")
    assert ada.ends.open_("third", ada.sid, 2, made) == b"never said"


def test_a_copied_key_and_keys_of_a_wrong_size_are_refused() -> None:
    private, mine = hello()
    with pytest.raises(Malformed, match="copied"):
        Crossing.begin(private, 1, [key_of(mine), key_of(mine)])
    for wrong in (b"", mine[:-1], mine + b"\0", bytes(STEP)):
        with pytest.raises(Malformed):
            key_of(wrong)
    with pytest.raises(UsageError):
        Crossing.begin(private, 2, [key_of(mine), key_of(hello()[1])])


def test_ends_survive_a_crash_and_nothing_else_is_read_as_ends() -> None:
    ada, ben = two()
    before = Crossing.decode(ada.ends.encode())
    assert before == ada.ends
    met(ada, ben)
    again = Crossing.decode(ada.ends.encode())
    assert ben.ends.open_("same", ben.sid, 1, again.seal("same", ada.sid, 2, b"handle")) == b"handle"
    whole = again.encode()
    for wrong in (b"something else", whole[:-1], whole[:-3] + b"\0\0\0", unlp_and_drop(whole)):
        with pytest.raises(ProtocolError):
            Crossing.decode(wrong)


def unlp_and_drop(whole: bytes) -> bytes:
    """One secret fewer than there are keys."""
    parts = unlp(whole, 7)
    return lp(*parts[:5], parts[5][:-32], parts[6])


@given(st.binary(max_size=STEP + 8) | st.just(bytes(MAX_CROSSING + STEP)))
def test_any_bytes_at_all_are_refused_with_an_error_of_the_other_side(data: bytes) -> None:
    for leg in ("first", *LATER):
        with pytest.raises(ProtocolError):
            _ = _ADA.take_first(2, data) if leg == "first" else _ADA.ends.open_(leg, _ADA.sid, 2, data)


def test_the_largest_message_that_is_ever_carried_fits() -> None:
    ada, ben = two()
    met(ada, ben)
    masks = os.urandom(32 * (4 + 18 + 32 * 32))
    sealed = ada.ends.seal("masks", ada.sid, 2, masks)
    assert len(sealed) <= MAX_CROSSING
    assert ben.ends.open_("masks", ben.sid, 1, sealed) == masks
    with pytest.raises(UsageError):
        ada.ends.seal("masks", ada.sid, 2, bytes(MAX_CROSSING))


_ADA, _BEN = two()
met(_ADA, _BEN)
assert crossing.STEP == STEP
