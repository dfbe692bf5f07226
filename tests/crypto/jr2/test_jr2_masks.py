"""Several delegates of one party hold a mask each: the party signs only when all of them agree."""

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2 import masks
from pourparler_crypto.jr2.masks import HeldMask, Joint
from pourparler_crypto.jr2.testing import Party, desk_of, parties
from pourparler_crypto.jr2.wire import HEADER

TEXTS = (b"First copy.\n", b"Second copy.\n")


def held_by(party: Party, holders: int = 3) -> tuple[list[HeldMask], list[Joint]]:
    """Masks 1 and 2 of a party's holders; 1 is the release device. Each goes through its vault."""
    held = [masks.draw(party.round, party.number, holder, holders) for holder in range(1, holders + 1)]
    held = [HeldMask.load(one.encode()) for one in held]
    commitments = [one.commitment for one in held]
    openings = [one.opening(commitments) for one in held]
    return held, [masks.join(one, commitments, openings) for one in held]


def presigned(everyone: list[Party], mask: tuple[HeldMask, Joint]) -> list[bytes]:
    """R1 to R3; the first party's D is that of its holders."""
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    state = everyone[0].state
    assert isinstance(state, jr2.Opened)
    made = jr2.presign(state, second, everyone[0].key, mask=mask)
    everyone[0].vault = made.encode()
    third = [made.message, *(party.receive(second) or b"" for party in everyone[1:])]
    for party in everyone:
        party.receive(third)
    return third


def test_a_party_signs_when_all_its_holders_agree_and_nobody_outside_sees_how_many() -> None:
    everyone = parties(2, TEXTS)
    held, joint = held_by(everyone[0])
    presigned(everyone, (held[0], joint[0]))
    ready = everyone[0].ready()
    for view in joint:
        view.check_case(everyone[1].ready().case)
    signed = jr2.sign(ready, [one.agreement() for one in held[1:]], joint=joint[0])
    assert len(signed.message) == jr2.size(jr2.Kind.MASK, 2)
    desk = desk_of(everyone[1])
    desk.take_mask(signed.message)
    desk.take_mask(everyone[1].sign())
    opened = desk.masks() or []
    deposited = jr2.deposit(signed, opened)
    desk.take_share(deposited.message)
    desk.take_share(everyone[1].receive(opened) or b"")
    assert [len(one.signatures) for one in desk.publish()] == [2, 2]


def test_without_one_of_them_it_cannot_sign() -> None:
    everyone = parties(2)
    held, joint = held_by(everyone[0])
    presigned(everyone, (held[0], joint[0]))
    with pytest.raises(UsageError, match="delegates hold masks"):
        jr2.sign(everyone[0].ready())
    with pytest.raises(jr2.Incomplete) as caught:
        jr2.sign(everyone[0].ready(), [held[1].agreement()], joint=joint[0])
    assert caught.value.missing == (3,)
    alone = everyone[0].ready()
    message = jr2.wire.write(jr2.Kind.MASK, 1, alone.case.handle, alone.d)  # type: ignore[attr-defined]
    with pytest.raises(jr2.BadMask):
        jr2.check_mask(alone.case, message)


def test_an_agreement_that_does_not_fit_is_refused() -> None:
    everyone = parties(2)
    held, joint = held_by(everyone[0])
    presigned(everyone, (held[0], joint[0]))
    good = held[1].agreement()
    ready = everyone[0].ready()
    with pytest.raises(jr2.BadMask):
        jr2.sign(ready, [good[:HEADER] + held[2].d], joint=joint[0])
    with pytest.raises(Malformed):
        jr2.sign(ready, [good + b"\0"], joint=joint[0])
    with pytest.raises(Malformed):
        jr2.sign(ready, [bytes((good[0], 9)) + good[2:]], joint=joint[0])
    with pytest.raises(jr2.WrongRound):
        jr2.sign(ready, [bytes((2,)) + good[1:]], joint=joint[0])
    assert jr2.sign(ready, [good, held[2].agreement()], joint=joint[0])


def test_a_delegate_sees_when_the_release_device_left_its_mask_out() -> None:
    everyone = parties(2)
    _, joint = held_by(everyone[0])
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    third = [party.receive(second) or b"" for party in everyone]
    for party in everyone:
        party.receive(third)
    with pytest.raises(jr2.BadMask, match="without the delegates' masks"):
        joint[1].check_case(everyone[1].ready().case)
    other = parties(2)
    with pytest.raises(jr2.WrongRound):
        held_by(other[0])[1][0].check_case(everyone[1].ready().case)


def test_masks_are_committed_to_before_any_is_seen() -> None:
    party = parties(2)[0]
    held = [masks.draw(party.round, 1, holder, 3) for holder in (1, 2, 3)]
    commitments = [one.commitment for one in held]
    with pytest.raises(jr2.Incomplete):
        held[0].opening(commitments[:2])
    with pytest.raises(jr2.Copied):
        held[0].opening([commitments[1], bytes((1, 3)) + commitments[1][2:]])
    with pytest.raises(jr2.Contradiction):
        held[0].opening([*commitments, commitments[2][:-1] + b"\0", commitments[2][:-1] + b"\1"])
    openings = [one.opening(commitments) for one in held]
    with pytest.raises(jr2.BadOpening):
        masks.join(held[0], commitments, [openings[1], openings[2][:-1] + bytes((openings[2][-1] ^ 1,))])
    with pytest.raises(jr2.WrongRound):
        stranger = masks.draw(parties(2)[0].round, 1, 2, 3)
        held[0].opening([stranger.commitment, commitments[2]])


def test_an_erased_mask_and_impossible_ones_are_refused() -> None:
    about = parties(2)[0].round
    held = masks.draw(about, 1, 1, 2)
    held.erase()
    with pytest.raises(jr2.AlreadyUsed):
        held.agreement()
    with pytest.raises(jr2.AlreadyUsed):
        held.encode()
    for party, holder, holders in ((3, 1, 2), (1, 0, 2), (1, 3, 2), (1, 1, 1), (1, 1, 17)):
        with pytest.raises(UsageError):
            masks.draw(about, party, holder, holders)
    for wrong in (b"", bytes(40)):
        with pytest.raises(UsageError):
            HeldMask.load(wrong)


def test_only_the_release_devices_mask_for_this_round_makes_a_pre_signature() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    held, joint = held_by(everyone[0])
    strange, strange_joint = held_by(parties(2)[0])
    for mask in ((held[1], joint[1]), (strange[0], joint[0]), (held[0], strange_joint[0])):
        state = everyone[0].state
        assert isinstance(state, jr2.Opened)
        with pytest.raises(UsageError):
            jr2.presign(state, second, everyone[0].key, mask=mask)
    assert everyone[0].receive(second)
