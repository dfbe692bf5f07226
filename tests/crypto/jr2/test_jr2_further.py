"""A party whose rule asks several persons: each further one holds a y and a d, and nothing is signed without them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto import jr2
from pourparler_crypto.errors import CryptoError, UsageError
from pourparler_crypto.jr2 import Kind
from pourparler_crypto.jr2.group import ED25519
from pourparler_crypto.jr2.signatures import parts
from pourparler_crypto.jr2.testing import (
    TEXT,
    Party,
    as_scalar,
    desk_of,
    lock_of,
    number,
    parties,
    play,
    release,
    with_further,
)
from pourparler_crypto.jr2.wire import HEADER, write

COPIES = (TEXT, b"Second copy.\n")


@pytest.mark.parametrize(("count", "further"), [(2, 1), (2, 3), (3, 2), (16, 16)])
def test_all_of_them_sign_and_the_parties_signatures_alone_appear(count: int, further: int) -> None:
    everyone = with_further(count, further, COPIES)
    desk, done = release(everyone)
    assert desk.case.parties == count + further
    assert [len(one.signatures) for one in done] == [count, count]
    shares = [party.sent[-1] for party in everyone]
    assert everyone[-1].finish(shares) == everyone[0].finish(shares) == done


def test_the_desk_cannot_tell_a_further_signer_from_a_party() -> None:
    with_one, with_none = (play(with_further(2, 1)), play(parties(3)))
    assert [len(m) for m in with_one.commitments] == [len(m) for m in with_none.commitments]
    everyone = with_further(2, 1)
    play(everyone)
    others = parties(3)
    play(others)
    assert len(everyone[2].ready().case.encode()) == len(others[2].ready().case.encode())
    assert {len(one.sign()) for one in (*everyone, *others)} == {jr2.size(Kind.MASK)}


def test_without_one_of_them_nothing_opens() -> None:
    everyone = with_further(2, 2)
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone[:3]:
        desk.take_mask(party.sign())
    assert desk.masks() is None


def test_with_every_d_and_every_y_but_that_of_one_further_signer_nobody_has_a_signature() -> None:
    """Who withdrew when all had signed keeps its y back: that is enough, for a further signer too."""
    everyone = with_further(2, 1)
    play(everyone)
    opened = [party.sign() for party in everyone]
    shares = [party.receive(opened) or b"" for party in everyone]
    deposited = everyone[0].state
    assert isinstance(deposited, jr2.Deposited)
    with pytest.raises(jr2.Incomplete):
        jr2.finish(deposited, shares[:2])
    # What is missing in (R, s + d) is exactly y of all, whose discrete logarithm nobody has.
    nonce_point, _, response = parts(deposited.bodies[0])[0]
    lock = lock_of(everyone[0].round.keys[0], nonce_point, response)
    known = sum(number(share[HEADER : HEADER + 32]) for share in shares[:2])
    left = ED25519.minus(ED25519.minus(lock, ED25519.base(opened[0][HEADER:])), deposited.case.locks[2][0])
    assert left == ED25519.base(as_scalar(known))


def test_a_wrong_mask_or_another_ones_is_refused_and_names_whose_it_was() -> None:
    everyone = with_further(2, 2)
    play(everyone)
    opened = [party.sign() for party in everyone]
    case = signed(everyone[0]).case
    swapped = write(Kind.MASK, 3, case.handle, opened[3][HEADER:])
    with pytest.raises(jr2.BadMask) as caught:
        jr2.check_mask(case, swapped)
    assert caught.value.party == 3
    with pytest.raises(jr2.BadMask):
        everyone[0].receive([*opened[:2], swapped, opened[3]])
    assert everyone[0].receive(opened)  # and nothing is lost by it


def signed(party: Party) -> jr2.Signed:
    state = party.state
    assert isinstance(state, jr2.Signed)
    return state


def test_who_has_no_place_in_the_order_goes_no_further_and_keeps_its_state() -> None:
    everyone = with_further(2, 2)
    first = [party.begin() for party in everyone]
    for order in ([], [first[3]], [first[2], first[2]]):
        with pytest.raises((UsageError, jr2.PartyFault)):
            everyone[2].receive(first[:2], order)
    assert everyone[2].receive(first[:2], [first[3], first[2]])
    assert everyone[2].number == 4


def test_a_party_does_not_pass_for_a_further_signer_nor_one_for_a_party() -> None:
    everyone = with_further(2, 1)
    first = [party.begin() for party in everyone]
    with pytest.raises(CryptoError):
        everyone[0].receive(first[:2], [first[1]])
    with pytest.raises(CryptoError):
        everyone[0].receive([first[0], first[2]], [])
    opened = jr2.open_(jr2.load(everyone[2].vault), first[:2], [first[2]])  # type: ignore[arg-type]
    second = [party.receive(first[:2], [first[2]]) or b"" for party in everyone]
    with pytest.raises(UsageError, match="another party's release key"):
        jr2.presign(opened, second, everyone[0].key)
    mine = jr2.load(everyone[0].vault)
    with pytest.raises(UsageError, match="another party's release key"):
        jr2.presign(mine, second, None)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_of_a_further_signers_message_binds_nobody_and_loses_nothing(place: int, flip: int) -> None:
    everyone = with_further(2, 1)
    first = [party.begin() for party in everyone]
    second = [party.receive(first[:2], first[2:]) or b"" for party in everyone]
    with pytest.raises(CryptoError):
        everyone[0].receive([*second[:2], changed(second[2], place, flip)])
    third = [party.receive(second) or b"" for party in everyone]
    altered = [*third[:2], changed(third[2], place, flip)]
    try:
        everyone[0].receive(altered)
    except CryptoError:
        everyone[0].receive(third)
    everyone[2].receive(third)
    handles = {everyone[0].ready().case.handle, everyone[2].ready().case.handle}
    assert (len(handles) == 1) == (everyone[0].ready().further == everyone[2].ready().further)


def changed(message: bytes, place: int, flip: int) -> bytes:
    altered = bytearray(message)
    altered[place % len(altered)] ^= flip
    return bytes(altered)
