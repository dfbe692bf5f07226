"""Several delegates of one party hold a mask each: the party signs only when all of them agree."""

import pytest
from nacl.bindings import crypto_core_ed25519_add

from pourparler_crypto import jr2
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2 import Circle, HeldMask, Joint, masks
from pourparler_crypto.jr2.group import ED25519
from pourparler_crypto.jr2.signatures import parts
from pourparler_crypto.jr2.testing import Party, desk_of, lock_of, parties, scalar
from pourparler_crypto.jr2.wire import HEADER, write

TEXTS = (b"First copy.\n", b"Second copy.\n")


def held_by(party: Party, count: int = 3) -> tuple[list[HeldMask], Joint]:
    """Masks 1 and 2 of a party's delegates. Each goes through its vault."""
    circle = Circle(party.round, party.number, count)
    held = [HeldMask.load(masks.draw(circle, number).encode()) for number in range(1, count + 1)]
    commitments = [one.commitment for one in held]
    openings = [one.opening(commitments) for one in held]
    return held, masks.join(circle, commitments, openings)


def presigned(everyone: list[Party], joint: Joint | None) -> None:
    """R1 to R3; the first party's D has its delegates' points in it."""
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    third = [party.receive(second, joint if party is everyone[0] else None) or b"" for party in everyone]
    for party in everyone:
        party.receive(third)


@pytest.mark.parametrize("count", [1, 3])
def test_a_party_signs_when_all_its_delegates_agree_and_nobody_outside_sees_how_many(count: int) -> None:
    everyone = parties(2, TEXTS)
    held, joint = held_by(everyone[0], count)
    presigned(everyone, joint)
    joint.check_case(everyone[1].ready().case, joint.disclosure(everyone[0].ready().d))
    message = everyone[0].sign([one.agreement() for one in held], joint)
    assert len(message) == jr2.size(jr2.Kind.MASK, 2)
    desk = desk_of(everyone[1])
    desk.take_mask(message)
    desk.take_mask(everyone[1].sign())
    opened = desk.masks() or []
    for party in everyone:
        desk.take_share(party.receive(opened) or b"")
    assert [len(one.signatures) for one in desk.publish()] == [2, 2]


def test_without_one_of_them_it_cannot_sign() -> None:
    everyone = parties(2)
    held, joint = held_by(everyone[0])
    presigned(everyone, joint)
    with pytest.raises(UsageError, match="they must agree"):
        everyone[0].sign()
    with pytest.raises(jr2.Incomplete) as caught:
        everyone[0].sign([held[0].agreement(), held[1].agreement()], joint)
    assert caught.value.missing == (3,)
    alone = everyone[0].ready()
    with pytest.raises(jr2.BadMask):
        jr2.check_mask(alone.case, write(jr2.Kind.MASK, 1, alone.case.handle, alone.d))


def test_a_party_without_delegates_takes_no_agreements_of_strangers() -> None:
    everyone = parties(2)
    presigned(everyone, None)
    _, joint = held_by(everyone[0])
    with pytest.raises(UsageError, match="and no others"):
        everyone[0].sign((), joint)


def test_an_agreement_that_does_not_fit_is_refused() -> None:
    everyone = parties(2)
    held, joint = held_by(everyone[0])
    presigned(everyone, joint)
    good = held[1].agreement()
    for bad, error in (
        (good[:HEADER] + held[2].d, jr2.BadMask),
        (good[:HEADER] + b"\xff" * 32, jr2.BadMask),
        (good + b"\0", Malformed),
        (bytes((good[0], 9)) + good[2:], Malformed),
        (bytes((good[0], 0)) + good[2:], Malformed),
        (bytes((2,)) + good[1:], jr2.WrongRound),
    ):
        with pytest.raises(error):
            everyone[0].sign([held[0].agreement(), bad, held[2].agreement()], joint)
    assert everyone[0].sign([one.agreement() for one in held], joint)


def test_a_delegate_sees_when_the_release_device_left_its_mask_out_or_cancelled_it() -> None:
    everyone = parties(2)
    _, joint = held_by(everyone[0])
    presigned(everyone, None)
    case = everyone[1].ready().case
    for d in (everyone[0].ready().d, scalar()):
        with pytest.raises(jr2.BadMask, match="without the delegates' masks"):
            joint.check_case(case, joint.disclosure(d))
    # A device that cancels them must make up a d whose point is D − ΣD_h: it knows that of D only.
    wanted = ED25519.minus(case.masks[0][0], joint.sums[0])
    assert ED25519.base(everyone[0].ready().d) != wanted
    _, other = held_by(parties(2)[0])
    with pytest.raises(jr2.WrongRound):
        other.check_case(case, other.disclosure(scalar()))
    with pytest.raises(Malformed):
        joint.check_case(case, joint.disclosure(b"\xff" * 32))


def test_masks_are_committed_to_before_any_is_seen() -> None:
    circle = Circle(parties(2)[0].round, 1, 3)
    held = [masks.draw(circle, number) for number in (1, 2, 3)]
    commitments = [one.commitment for one in held]
    with pytest.raises(jr2.Incomplete):
        held[0].opening(commitments[:2])
    with pytest.raises(jr2.Copied):
        held[0].opening([commitments[1], bytes((1, 3)) + commitments[1][2:]])
    with pytest.raises(jr2.Contradiction):
        held[0].opening([*commitments, commitments[2][:-1] + bytes((commitments[2][-1] ^ 1,))])
    openings = [one.opening(commitments) for one in held]
    altered = openings[2][:-1] + bytes((openings[2][-1] ^ 1,))
    with pytest.raises(jr2.BadOpening):
        masks.join(circle, commitments, [openings[0], openings[1], altered])
    stranger = masks.draw(Circle(parties(2)[0].round, 1, 3), 2)
    with pytest.raises(jr2.WrongRound):
        held[0].opening([stranger.commitment, commitments[2]])


def test_a_mask_with_a_part_of_small_order_is_refused() -> None:
    circle = Circle(parties(2)[0].round, 1, 1)
    held = masks.draw(circle, 1)
    small = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    bad = crypto_core_ed25519_add(ED25519.base(held.d), small)
    said = circle.write(1, circle.commitment(1, [bad], held.salt))
    with pytest.raises(jr2.BadOpening, match="no point"):
        masks.join(circle, [said], [circle.write(1, bad + held.salt)])


def test_a_pre_signature_repeated_from_a_copy_has_another_mask() -> None:
    """With the same D twice, two pre-signatures would prove that the key was used: nobody else can make up the
    pair.
    """
    everyone = parties(2)
    _, joint = held_by(everyone[0])
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    found = []
    for _ in range(2):
        state = jr2.load(everyone[0].vault)
        assert isinstance(state, jr2.Opened)
        body = jr2.presign(state, second, everyone[0].key, delegates=joint).presignature
        nonce_point, _, response = parts(body)[0]
        found.append(lock_of(everyone[0].key.public, nonce_point, response))
    assert found[0] != found[1]


def test_an_erased_mask_and_impossible_ones_are_refused() -> None:
    about = parties(2)[0].round
    held = masks.draw(Circle(about, 1, 2), 1)
    held.erase()
    for use in (held.agreement, held.encode, lambda: held.commitment):
        with pytest.raises(jr2.AlreadyUsed):
            use()
    for party, delegate, delegates in ((3, 1, 2), (1, 0, 2), (1, 3, 2), (1, 1, 0), (1, 1, 17)):
        with pytest.raises(UsageError):
            masks.draw(Circle(about, party, delegates), delegate)
    for wrong in (b"", bytes(40)):
        with pytest.raises(UsageError):
            HeldMask.load(wrong)


def test_a_joint_mask_of_another_round_or_party_makes_no_pre_signature() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    for joint in (held_by(parties(2)[0])[1], held_by(everyone[1])[1]):
        with pytest.raises(UsageError):
            everyone[0].receive(second, joint)
    assert everyone[0].receive(second)
