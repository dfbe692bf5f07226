"""B10 to B19 of `docs/joint-release.md`, and what was found while building: naive variant first, then ours."""

import ast
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base

import pourparler_crypto.jr2
from pourparler_crypto import jr2, note
from pourparler_crypto.errors import CryptoError, Malformed, UsageError
from pourparler_crypto.jr2 import Kind
from pourparler_crypto.jr2.checks import challenge_for, check_presignatures
from pourparler_crypto.jr2.forging import forge, forge_presignature, judge
from pourparler_crypto.jr2.formulas import balanced, finish, presign
from pourparler_crypto.jr2.group import (
    ED25519,
    challenge,
    check_point,
    check_scalar,
    expand,
)
from pourparler_crypto.jr2.signatures import parts, verify
from pourparler_crypto.jr2.testing import (
    TERMS,
    TEXT,
    L,
    Party,
    again,
    as_scalar,
    is_signature,
    lock_of,
    number,
    parties,
    play,
    release,
    scalar,
    seated,
    total,
    with_further,
)
from pourparler_crypto.jr2.wire import HEADER, commitment, write
from pourparler_crypto.releasekey import ReleaseKey

# A point of order 8 on the curve of RFC 8032.
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def adaptor(key: ReleaseKey, lock: bytes, r: bytes | None = None, text: bytes = TEXT) -> tuple[bytes, bytes]:
    """The naive pre-signature: one lock for all, no mask. (R, ŝ)."""
    x, _ = expand(key.seed)
    nonce = r or scalar()
    nonce_point = ED25519.plus(ED25519.base(nonce), lock)
    return nonce_point, ED25519.add(nonce, ED25519.mul(challenge(nonce_point, key.public, text), x))


def three() -> list[ReleaseKey]:
    return [ReleaseKey.generate() for _ in range(3)]


# B10: small order


def test_b10_a_y_with_a_part_of_small_order_passes_the_equation_and_spoils_the_signature() -> None:
    a, _, _ = three()
    y, d = scalar(), scalar()
    bad = crypto_core_ed25519_add(ED25519.base(y), ORDER_8)
    values = presign(
        ED25519,
        r=scalar(),
        x=expand(a.seed)[0],
        lock=bad,
        mask_point=ED25519.base(d),
        challenge=challenge_for(a.public, TEXT),
    )
    assert balanced(ED25519, values=values, public=a.public, lock=bad, challenge=challenge_for(a.public, TEXT))
    assert not is_signature(a.public, values[0], finish(ED25519, response=values[2], mask=d, share=y))


def test_b10_ours_takes_no_such_point_anywhere() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    crooked = jr2.load(everyone[1].vault)
    assert isinstance(crooked, jr2.Committed)
    bad = crypto_core_ed25519_add(ED25519.base(crooked.y), ORDER_8)
    sid = everyone[0].round.sid
    first[1] = write(Kind.COMMITMENT, 2, sid, commitment(sid, 2, [bad], crooked.rho))
    everyone[0].receive(first)
    with pytest.raises(jr2.BadOpening, match="party 2: Y is no point"):
        everyone[0].receive([write(Kind.OPENING, 2, sid, bad + crooked.rho)])
    for point in (ORDER_8, crypto_core_ed25519_add(everyone[0].key.public, ORDER_8), bytes(32), b"\xff" * 32):
        with pytest.raises(Malformed):
            check_point(point)
        with pytest.raises(UsageError):
            jr2.Round(bytes(32), (TEXT,), (everyone[0].key.public, point), TERMS)


@pytest.mark.parametrize("position", [0, 1])
def test_b10_nor_in_a_pre_signature(position: int) -> None:
    everyone = parties(2)
    transcript = play(everyone)
    locks = [(message[HEADER : HEADER + 32],) for message in transcript.openings]
    bodies = [bytearray(message[HEADER:]) for message in transcript.presignatures]
    at = slice(32 * position, 32 * position + 32)
    bodies[1][at] = crypto_core_ed25519_add(bytes(bodies[1][at]), ORDER_8)
    with pytest.raises(jr2.BadPresignature, match="party 2: this is no point"):
        check_presignatures(transcript.round, locks, [bytes(body) for body in bodies], 1)


# B11: scalars that are not reduced


def test_b11_the_group_takes_a_scalar_above_its_order_and_ours_takes_none() -> None:
    d = scalar()
    above = (number(d) + L).to_bytes(32, "little")
    assert ED25519.base(above) == ED25519.base(d)
    with pytest.raises(Malformed):
        check_scalar(above)
    everyone = parties(2)
    transcript = play(everyone)
    ready = everyone[0].ready()
    handle = ready.case.handle
    above = (number(ready.d) + L).to_bytes(32, "little")
    with pytest.raises(jr2.BadMask):
        jr2.check_mask(ready.case, write(Kind.MASK, 1, handle, above))
    above = (number(ready.y) + L).to_bytes(32, "little")
    with pytest.raises(jr2.BadShare):
        jr2.check_share(ready.case, write(Kind.SHARE, 1, handle, above + ready.rho))
    locks = [(message[HEADER : HEADER + 32],) for message in transcript.openings]
    bodies = list(ready.bodies)
    bodies[1] = bodies[1][:64] + (number(bodies[1][64:]) + L).to_bytes(32, "little")
    with pytest.raises(jr2.BadPresignature, match="no scalar below"):
        check_presignatures(transcript.round, locks, bodies, 1)


# B12: clamping


def test_b12_a_clamped_mask_belongs_to_another_point() -> None:
    d = scalar()
    assert crypto_scalarmult_ed25519_base(d) != ED25519.base(d)


def test_b12_the_secret_scalar_belongs_to_the_stock_public_key_and_c_is_that_of_the_rfc() -> None:
    for _ in range(20):
        key = ReleaseKey.generate()
        x, _ = expand(key.seed)
        assert ED25519.base(x) == key.public
        check_scalar(x)
    nonce_point = ED25519.base(scalar())
    c = number(hashlib.sha512(nonce_point + key.public + TEXT).digest()) % L
    assert challenge(nonce_point, key.public, TEXT) == as_scalar(c)


# B13: a selection of the signatures


def communique(keys: Sequence[ReleaseKey]) -> note.Communique:
    signatories = tuple(
        note.Signatory(f"Party {i}", note.PressKey(f"party-{i}.example/press", key.public))
        for i, key in enumerate(keys, 1)
    )
    return note.Communique(("We agree.",), note.Foot(bytes(16), signatories, ("en",), TERMS.not_before))


def test_b13_a_selection_is_valid_for_a_stock_verifier_and_refused_here() -> None:
    keys = three()
    text = communique(keys)
    _, done = release(seated(keys, (text.text,)))
    whole = note.assemble(done)[0].encode()
    lines = whole.decode().splitlines(keepends=True)
    selection = "".join(lines[:-1]).encode()
    verify(keys[0].public, text.text, done[0].signatures[0])  # the naive reader is content
    with pytest.raises(note.Refused) as caught:
        note.verify(selection)
    assert caught.value.refusal is note.Refusal.MISSING_SIGNATURE
    assert b"void unless all have signed" in selection


# B14: copies


def test_b14_a_commitment_without_number_can_be_copied_and_opened_after_the_owner() -> None:
    """Naive: whoever copies u waits until its owner has opened it, and copies the opening too. All of it is in
    order.
    """
    y, rho = ED25519.base(scalar()), os.urandom(32)
    commitments = [hashlib.sha512(y + rho).digest()] * 2
    openings = [(y, rho)] * 2
    assert all(hashlib.sha512(p + r).digest() == u for u, (p, r) in zip(commitments, openings, strict=True))
    sid = bytes(64)
    bound = commitment(sid, 1, [y], rho)
    assert commitment(sid, 2, [y], rho) != bound


def test_b14_ours_refuses_copies_and_names_both() -> None:
    everyone = parties(3)
    first = [party.begin() for party in everyone]
    copied = bytes((first[1][0], 3)) + first[1][2:]
    with pytest.raises(jr2.Copied) as caught:
        everyone[0].receive([first[1], copied])
    assert (caught.value.party, caught.value.other) == (3, 2)
    mine = bytes((first[0][0], 3)) + first[0][2:]
    with pytest.raises(jr2.Copied) as caught:
        everyone[0].receive([first[1], mine])
    assert (caught.value.party, caught.value.other) == (3, 1)


def test_b14_a_copied_opening_does_not_fit_another_number() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    with pytest.raises(jr2.BadOpening):
        everyone[1].receive([bytes((second[1][0], 1)) + second[1][2:]])


def test_b14_ours_refuses_a_mask_or_nonce_point_that_another_has_shown() -> None:
    everyone = parties(3)
    transcript = play(everyone)
    locks = [(message[HEADER : HEADER + 32],) for message in transcript.openings]
    y = total([row[0] for row in locks])
    bodies = [message[HEADER:] for message in transcript.presignatures]
    copied_mask = parts(bodies[0])[0][1]
    key = everyone[2].key
    bodies[2] = b"".join(
        presign(
            ED25519,
            r=scalar(),
            x=expand(key.seed)[0],
            lock=y,
            mask_point=copied_mask,
            challenge=challenge_for(key.public, TEXT),
        )
    )
    with pytest.raises(jr2.Copied) as caught:
        check_presignatures(transcript.round, locks, bodies, 1)
    assert (caught.value.party, caught.value.other) == (3, 1)


# B15: given up


def test_b15_what_a_round_leaves_that_was_given_up_before_r4_could_be_made_up_by_anyone() -> None:
    everyone = parties(3)
    genuine = play(everyone)
    judge(genuine)
    judge(forge(genuine.round).transcript)
    assert again(everyone)[0].round.sid != genuine.round.sid


# B16: delegates (more in test_jr2_further.py)


def test_b16_without_commitments_one_delegate_cancels_another() -> None:
    d1, t = scalar(), scalar()
    cancelling = ED25519.minus(ED25519.base(t), ED25519.base(d1))
    assert ED25519.plus(ED25519.base(d1), cancelling) == ED25519.base(t)  # d1 is not needed


def test_b16_ours_adds_no_masks_up_and_refuses_a_lock_chosen_after_the_others_were_seen() -> None:
    everyone = with_further(2, 2)
    first = [party.begin() for party in everyone]
    second = [party.receive(first[:2], first[2:]) or b"" for party in everyone]
    rogue = ED25519.minus(ED25519.base(scalar()), second[2][HEADER : HEADER + 32])
    altered = [*second[:3], second[3][:HEADER] + rogue + second[3][HEADER + 32 :]]
    with pytest.raises(jr2.BadOpening) as caught:
        everyone[0].receive(altered)
    assert caught.value.party == 4
    third = [party.receive(second) or b"" for party in everyone]
    # A D that would cancel another's in a sum: each d is checked alone, and nobody knows this one.
    third[3] = third[3][:HEADER] + ED25519.minus(ED25519.base(scalar()), third[2][HEADER:])
    everyone[0].receive(third)
    case = everyone[0].ready().case
    with pytest.raises(jr2.BadMask):
        jr2.check_mask(case, write(Kind.MASK, 4, case.handle, scalar()))


# B17: whose key


def test_b17_a_text_that_names_its_own_keys_names_nobody() -> None:
    """Anybody mints three "parties" and a perfect communiqué. Only the reader's book says whose keys they are."""
    keys = three()
    text = communique(keys)
    _, done = release(seated(keys, (text.text,)))
    verified = note.verify(note.assemble(done)[0].encode())
    assert not verified.all_known
    assert all("not in your key book" in signed.sentence for signed in verified)


# B18, B19: what the code does


SOURCES = list(Path(str(pourparler_crypto.jr2.__file__)).parent.glob("*.py"))


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def test_b18_no_step_signs_anything() -> None:
    """The messages' only signature is that of a throw-away leaf key, in the channel (docs/attestation.md)."""
    assert len(SOURCES) > 10
    for path in SOURCES:
        assert not names_in(path) & {"ed25519_sign", "crypto_sign", "SigningKey", "Ed25519PrivateKey"}


def test_b19_no_python_integer_holds_a_scalar() -> None:
    """Their arithmetic takes a time that depends on the value. Integers are lengths, times and counts."""
    with_secrets = ("group", "formulas", "steps", "checks", "case", "signatures", "wire")
    for name in with_secrets:
        path = next(path for path in SOURCES if path.stem == name)
        assert not names_in(path) & {"from_bytes", "pow"}, name
        assert not any(isinstance(node, ast.Mod) for node in ast.walk(ast.parse(path.read_text()))), name


# Found while building


def test_two_texts_under_one_lock_and_mask_would_prove_that_the_key_was_used() -> None:
    """Nobody makes up two pre-signatures of one party that have the same S; so each text has locks of its own."""
    a, _, _ = three()
    y, d = ED25519.base(scalar()), ED25519.base(scalar())
    lock = ED25519.plus(y, d)
    naive = {lock_of(a.public, *adaptor(a, lock, text=text), text) for text in (b"one\n", b"two\n")}
    assert naive == {lock}
    everyone = parties(2, (b"one\n", b"two\n"))
    play(everyone)
    case = everyone[0].ready().case
    points = [point for row in case.locks + case.masks for point in row]
    assert len(set(points)) == 8
    judge(forge(everyone[0].round).transcript)


def test_a_signer_who_shows_different_pre_signatures_gets_no_two_bundles_under_one_key_stream() -> None:
    """With a constant nonce the desk could XOR the two and would know where they differ, and forge."""
    everyone = parties(2)
    play(everyone)
    ready = everyone[0].ready()
    rhos = [party.state.rho for party in everyone]  # type: ignore[union-attr]
    other = forge(ready.round).transcript.presignatures[1][HEADER:]
    one, two = (
        jr2.seal_bundle(jr2.Bundle(ready.round, bodies), rhos)
        for bodies in (ready.bodies, (ready.bodies[0], other))
    )
    assert one[:24] != two[:24]
    same = sum(left == right for left, right in zip(one[24:], two[24:], strict=True))
    assert same < 60  # of 4,072, as chance has it


def test_who_was_told_other_deadlines_has_another_sid_and_r1_shows_it() -> None:
    everyone = parties(2)
    later = replace(everyone[0].round, terms=replace(TERMS, not_before=TERMS.not_before + 1))
    misled = Party(later, everyone[1].key)
    everyone[0].begin()
    with pytest.raises(jr2.WrongRound):
        everyone[0].receive([misled.begin()])


def split_views() -> tuple[Party, Party, Party, Party]:
    """A relay between two parties plays the other one to each, with keys that it does not have."""
    a, b = parties(2)
    to_a, to_b = forge(a.round), forge(b.round)
    for party, forged, other in ((a, to_a, 2), (b, to_b, 1)):
        own = party.begin()
        fake = forged.transcript
        own = party.receive([own, fake.commitments[other - 1]]) or b""
        party.receive([own, fake.openings[other - 1]])
        y = total([own[HEADER : HEADER + 32], fake.openings[other - 1][HEADER : HEADER + 32]])
        body = forge_presignature(party.round, other, [y])
        party.receive([write(Kind.PRESIGNATURE, other, party.round.sid, body)])
    return a, b, a, b


def test_a_relay_that_plays_each_side_to_the_other_gets_past_r3_and_then_nothing() -> None:
    """It needs no key to get there; but it knows no d of the other side, and the two cases are two."""
    a, b, _, _ = split_views()
    assert a.ready().case.handle != b.ready().case.handle
    assert a.ready().case.digits != b.ready().case.digits
    told_a, told_b = a.sign(), b.sign()
    with pytest.raises(jr2.WrongRound):
        a.receive([told_b])
    guess = write(Kind.MASK, 2, a.state.case.handle, scalar())  # type: ignore[union-attr]
    with pytest.raises(jr2.BadMask) as caught:
        a.receive([told_a, guess])
    assert caught.value.party == 2
    assert "does not prove" in str(caught.value)


def test_a_mask_fits_every_case_of_its_round_and_none_of_another() -> None:
    """A limit that the search in test_jr2_explored.py found: only the desk's word binds a mask to one of these
    cases.

    Party 2 shows party 1 another pre-signature than party 3. Both sign, in two cases. A desk that lies carries
    the mask of 1 over: 3 sees "complete". It has indeed signed the same text, and y of 1 is still its own.
    """
    everyone = parties(3)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    copy = jr2.load(everyone[1].vault)
    assert isinstance(copy, jr2.Opened)
    third = [party.receive(second) or b"" for party in everyone]
    other = jr2.presign(copy, second, everyone[1].key)
    everyone[0].receive([third[0], other.message, third[2]])
    everyone[1].receive(third)
    everyone[2].receive(third)
    signed = [party.sign() for party in everyone]
    case = everyone[2].state.case  # type: ignore[union-attr]
    assert everyone[0].state.case.handle != case.handle  # type: ignore[union-attr]
    assert everyone[0].state.case.digits != case.digits  # type: ignore[union-attr]
    with pytest.raises(jr2.WrongRound):
        jr2.check_mask(case, signed[0])
    carried = write(Kind.MASK, 1, case.handle, signed[0][HEADER:])
    assert jr2.check_mask(case, carried).party == 1
    assert everyone[2].receive([carried, signed[1]])
    second_time = again(everyone)
    play(second_time)
    with pytest.raises(jr2.BadMask):
        elsewhere = second_time[0].ready().case
        jr2.check_mask(elsewhere, write(Kind.MASK, 1, elsewhere.handle, signed[0][HEADER:]))


def test_any_altered_message_of_a_relay_makes_the_round_fail_and_nothing_else() -> None:
    for kind in (Kind.COMMITMENT, Kind.OPENING, Kind.PRESIGNATURE):
        for position in (HEADER, -1, HEADER + 40):
            everyone = parties(2)
            messages = [party.begin() for party in everyone]
            try:
                for step in (Kind.COMMITMENT, Kind.OPENING, Kind.PRESIGNATURE):
                    if step == kind:
                        altered = bytearray(messages[1])
                        altered[position] ^= 1
                        messages = [messages[0], bytes(altered)]
                    messages = [everyone[0].receive(messages) or b"", everyone[1].receive([messages[0]]) or b""]
            except CryptoError:
                assert not isinstance(everyone[0].state, jr2.Ready)
            else:
                raise AssertionError("it went through")
