"""The attacks of `docs/joint-release.md`, B1 to B19: each succeeds against a naive variant that is written here.

Against ours each fails, or is shown as the limit that the document states. Attackers compute with Python integers,
and with whatever they were told; the naive variants use the same group.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import reduce

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.jr2 import Kind
from pourparler_crypto.jr2.case import masks_of
from pourparler_crypto.jr2.checks import challenge_for
from pourparler_crypto.jr2.forging import Transcript, forge, judge, transcript_of
from pourparler_crypto.jr2.formulas import finish, presign
from pourparler_crypto.jr2.group import (
    ED25519,
    challenge,
    expand,
    reduced,
)
from pourparler_crypto.jr2.signatures import parts
from pourparler_crypto.jr2.testing import (
    TEXT,
    L,
    Party,
    a_round,
    as_scalar,
    desk_of,
    is_signature,
    lock_of,
    number,
    own_body,
    parties,
    play,
    scalar,
    total,
)
from pourparler_crypto.jr2.wire import HEADER, write
from pourparler_crypto.releasekey import ReleaseKey


def adaptor(key: ReleaseKey, lock: bytes, r: bytes | None = None, text: bytes = TEXT) -> tuple[bytes, bytes]:
    """The naive pre-signature: one lock for all, no mask. (R, ŝ)."""
    x, _ = expand(key.seed)
    nonce = r or scalar()
    nonce_point = ED25519.plus(ED25519.base(nonce), lock)
    return nonce_point, ED25519.add(nonce, ED25519.mul(challenge(nonce_point, key.public, text), x))


def three() -> list[ReleaseKey]:
    return [ReleaseKey.generate() for _ in range(3)]


# B1: a common Y links pre-signatures


def test_b1_under_one_lock_nobody_can_make_up_two_pre_signatures_so_a_genuine_pair_is_evidence() -> None:
    a, b, _ = three()
    y = ED25519.base(scalar())
    genuine = [adaptor(key, y) for key in (a, b)]
    assert {lock_of(key.public, *one) for key, one in zip((a, b), genuine, strict=True)} == {y}
    made_up = [(ED25519.base(scalar()), scalar()) for _ in (a, b)]
    assert len({lock_of(key.public, *one) for key, one in zip((a, b), made_up, strict=True)}) == 2


def test_b1_with_masks_all_pre_signatures_together_can_be_made_up() -> None:
    about = a_round(three())
    judge(forge(about).transcript)
    everyone = parties(3)
    transcript = play(everyone)
    judge(transcript)
    locks = {lock_of(p.key.public, parts(own_body(p))[0][0], parts(own_body(p))[0][2]) for p in everyone}
    assert len(locks) == 3


# B2: a rogue Y


def test_b2_without_commitments_and_masks_whoever_opens_last_completes_the_others() -> None:
    a, b, _ = three()
    honest = [ED25519.base(scalar()) for _ in (a, b)]
    t = scalar()
    rogue = ED25519.minus(ED25519.base(t), total(honest))
    y = total([*honest, rogue])
    nonce_point, response = adaptor(b, y)
    assert is_signature(b.public, nonce_point, ED25519.add(response, t))


def test_b2_with_masks_but_no_commitments_the_desk_and_one_party_would_have_a_signature_after_r4() -> None:
    """The mask holds until the victim signs; then the rogue knows y. So the commitments are needed as well."""
    a, _, _ = three()
    honest, t = ED25519.base(scalar()), scalar()
    y = ED25519.plus(honest, ED25519.minus(ED25519.base(t), honest))
    d, (x, _) = scalar(), expand(a.seed)
    nonce_point, _, response = presign(
        ED25519, r=scalar(), x=x, lock=y, mask_point=ED25519.base(d), challenge=challenge_for(a.public, TEXT)
    )
    assert not is_signature(a.public, nonce_point, ED25519.add(response, t))
    assert is_signature(a.public, nonce_point, finish(ED25519, response=response, mask=d, share=t))


def test_b2_ours_refuses_a_y_that_was_chosen_after_the_others_were_seen() -> None:
    everyone = parties(3)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    seen = [message[HEADER : HEADER + 32] for message in second[:2]]
    rogue = ED25519.minus(ED25519.base(scalar()), total(seen))
    second[2] = second[2][:HEADER] + rogue + second[2][HEADER + 32 :]
    with pytest.raises(jr2.BadOpening) as caught:
        everyone[0].receive(second)
    assert caught.value.party == 3


# B3: proofs of possession


def proof(secret: bytes, context: bytes = b"") -> tuple[bytes, bytes]:
    k = scalar()
    point = ED25519.base(secret)
    c = reduced(hashlib.sha512(ED25519.base(k) + point + context).digest())
    return ED25519.base(k), ED25519.add(k, ED25519.mul(c, secret))


def proves(point: bytes, evidence: tuple[bytes, bytes], context: bytes = b"") -> bool:
    c = reduced(hashlib.sha512(evidence[0] + point + context).digest())
    return ED25519.base(evidence[1]) == ED25519.plus(evidence[0], ED25519.times(c, point))


def test_b3_a_proof_that_d_is_known_would_tell_a_genuine_round_from_a_forged_one() -> None:
    everyone = parties(2)
    play(everyone)
    state = everyone[0].ready()
    genuine = state.case.masks[0][0]
    assert proves(genuine, proof(state.d))
    forged = forge(a_round([p.key for p in everyone])).transcript
    mask_point = masks_of([message[HEADER:] for message in forged.presignatures])[0][0]
    # The forger solved for D: any d that it could try belongs to another point.
    assert all(not proves(mask_point, proof(scalar())) for _ in range(3))


def test_b3_ours_sends_points_hashes_and_responses_and_nothing_that_proves_one() -> None:
    genuine = play(parties(3))
    forged = forge(genuine.round).transcript
    for left, right in (
        (forged.commitments, genuine.commitments),
        (forged.openings, genuine.openings),
        (forged.presignatures, genuine.presignatures),
    ):
        assert [len(m) for m in left] == [len(m) for m in right]
    judge(forged)
    judge(genuine)


# B4: the last mover


def test_b4_who_is_shown_the_others_masks_first_can_prove_to_hold_a_signature_without_showing_it() -> None:
    """Naive: y and masks go from hand to hand. The last one knows S_B, and proves it without giving it away."""
    _, b, _ = three()
    y, d, (x, _) = scalar(), scalar(), expand(b.seed)
    nonce_point, _, response = presign(
        ED25519,
        r=scalar(),
        x=x,
        lock=ED25519.base(y),
        mask_point=ED25519.base(d),
        challenge=challenge_for(b.public, TEXT),
    )
    s = finish(ED25519, response=response, mask=d, share=y)
    statement = ED25519.plus(nonce_point, ED25519.times(challenge(nonce_point, b.public, TEXT), b.public))
    assert proves(statement, proof(s, b"to the press"), b"to the press")


def test_b4_the_desk_opens_all_at_once_and_what_is_open_says_the_same_of_everyone() -> None:
    everyone = parties(3)
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone[:2]:
        desk.take_mask(party.sign())
    assert desk.masks() is None  # the third has not signed, so it has nothing
    desk.take_mask(everyone[2].sign())
    opened = sorted(desk.masks() or [], key=lambda m: m[1])
    a, b = (finish_without_share(everyone[0], opened, party) for party in (0, 1))
    delta = ED25519.sub(a[1], b[1])  # known to every signer: s_A − s_B
    # A proof about B, made by whoever comes to know s_B, is turned into one about A by anyone.
    y = reduce(ED25519.add, (party.state.y for party in everyone))
    k, s_b = scalar(), ED25519.add(b[1], y)
    e = scalar()
    z_b = ED25519.add(k, ED25519.mul(e, s_b))
    z_a = ED25519.add(z_b, ED25519.mul(e, delta))
    for (nonce_point, _), z, party in ((b, z_b, everyone[1]), (a, z_a, everyone[0])):
        c = challenge(nonce_point, party.key.public, TEXT)
        statement = ED25519.plus(nonce_point, ED25519.times(c, party.key.public))
        assert ED25519.base(z) == ED25519.plus(ED25519.base(k), ED25519.times(e, statement))


def finish_without_share(viewer: Party, opened: Sequence[bytes], party: int) -> tuple[bytes, bytes]:
    state = viewer.state
    assert isinstance(state, jr2.Signed)
    nonce_point, _, response = parts(state.bodies[party])[0]
    return nonce_point, ED25519.add(response, opened[party][HEADER:])


# B5: desk and one party against the others


def test_b5_without_the_common_lock_desk_and_one_party_hold_all_other_signatures() -> None:
    _, b, _ = three()
    d, (x, _) = scalar(), expand(b.seed)
    nonce = scalar()
    nonce_point = ED25519.plus(ED25519.base(nonce), ED25519.base(d))
    response = ED25519.add(nonce, ED25519.mul(challenge(nonce_point, b.public, TEXT), x))
    assert is_signature(b.public, nonce_point, ED25519.add(response, d))


def opened_early(everyone: list[Party]) -> list[bytes]:
    """A desk that tells its accomplice, the last party, the masks of the others before that one has signed."""
    play(everyone)
    return [party.sign() for party in everyone[:-1]]


def test_b5_ours_gives_desk_and_one_party_no_signature() -> None:
    everyone = parties(3)
    told = opened_early(everyone)
    accomplice = everyone[-1].ready()
    for victim, message in enumerate(told):
        nonce_point, _, response = parts(accomplice.bodies[victim])[0]
        known = ED25519.add(ED25519.add(response, message[HEADER:]), accomplice.y)
        assert not is_signature(everyone[victim].key.public, nonce_point, known)


def unlocked(bodies: Sequence[bytes], opened: dict[int, bytes], keys: Sequence[bytes]) -> set[bytes]:
    """S − D of those whose masks are open: one point, Y, if the pre-signatures are genuine."""
    points = set()
    for party, mask in opened.items():
        nonce_point, _, response = parts(bodies[party - 1])[0]
        points.add(ED25519.minus(lock_of(keys[party - 1], nonce_point, response), ED25519.base(mask)))
    return points


def test_b5_limit_with_three_parties_desk_and_one_have_evidence_that_one_of_the_others_signed() -> None:
    everyone = parties(3)
    told = opened_early(everyone)
    bodies = everyone[-1].ready().bodies
    keys = everyone[0].round.keys
    opened = {1: told[0][HEADER:], 2: told[1][HEADER:]}
    assert len(unlocked(bodies, opened, keys)) == 1
    forged = [message[HEADER:] for message in forge(everyone[0].round).transcript.presignatures]
    assert len(unlocked(forged, opened, keys)) == 2  # nobody makes up two masks that open onto one Y


def test_b5_but_all_keys_except_one_are_enough_to_make_it_so_it_names_nobody() -> None:
    keys = three()
    about = a_round(keys)
    for victim in (1, 2, 3):
        transcript, opened = forged_with_all_keys_but_one(about, keys, victim)
        judge(transcript)
        bodies = [message[HEADER:] for message in transcript.presignatures]
        assert len(unlocked(bodies, opened, about.keys)) == 1


def test_b5_between_two_parties_the_accomplice_could_have_made_all_of_it_alone() -> None:
    keys = [ReleaseKey.generate() for _ in range(2)]
    about = a_round(keys)
    transcript, opened = forged_with_all_keys_but_one(about, keys, victim=1)
    judge(transcript)
    case = case_of(transcript)
    for party, mask in opened.items():
        jr2.check_mask(case, write(Kind.MASK, party, case.handle, mask))


def forged_with_all_keys_but_one(
    about: jr2.Round, keys: Sequence[ReleaseKey], victim: int
) -> tuple[Transcript, dict[int, bytes]]:
    """R1 to R4 of all parties without the victim's key: its (R, ŝ, d) are drawn, and Y is solved for."""
    public = about.keys[victim - 1]
    opened = {party: scalar() for party in about.parties}
    nonce_point, response = ED25519.base(scalar()), scalar()
    mask_point = ED25519.base(opened[victim])
    y = ED25519.minus(lock_of(public, nonce_point, response), mask_point)
    shares = [ED25519.base(scalar()) for _ in about.keys[1:]]
    locks = [(point,) for point in [*shares, ED25519.minus(y, total(shares))]]
    bodies = []
    for party, key in zip(about.parties, keys, strict=True):
        if party == victim:
            bodies.append(nonce_point + mask_point + response)
            continue
        bodies.append(
            b"".join(
                presign(
                    ED25519,
                    r=scalar(),
                    x=expand(key.seed)[0],
                    lock=y,
                    mask_point=ED25519.base(opened[party]),
                    challenge=challenge_for(key.public, TEXT),
                )
            )
        )
    rhos = [os.urandom(32) for _ in keys]
    return transcript_of(about, locks, rhos, bodies), opened


def case_of(transcript: Transcript) -> jr2.Case:
    about = transcript.round
    bodies = tuple(message[HEADER:] for message in transcript.presignatures)
    rhos = [message[-32:] for message in transcript.openings]
    sealed = jr2.seal_bundle(jr2.Bundle(about, bodies), rhos)
    return jr2.Case(
        about.sid,
        tuple((message[HEADER : HEADER + 32],) for message in transcript.openings),
        masks_of(bodies),
        tuple(hashlib.sha512(rho).digest() for rho in rhos),
        hashlib.sha512(sealed).digest(),
        about.terms,
    )


# B6: what the desk holds


def test_b6_the_desk_holds_no_text_key_nonce_point_or_response_until_every_rho_is_there() -> None:
    everyone = parties(3)
    play(everyone)
    state = everyone[0].ready()
    desk = desk_of(everyone[0])
    for party in everyone:
        desk.take_mask(party.sign())
    held = desk.case.encode() + desk.bundle + b"".join(desk.masks() or [])
    secret = [TEXT, *state.round.keys, state.round.nonce]
    secret += [value for body in state.bodies for one in parts(body) for value in (one[0], one[2])]
    naive = jr2.Bundle(state.round, state.bodies)
    unsealed = naive.round.encode() + b"".join(naive.presignatures)
    for value in secret:
        assert value in unsealed
        assert value not in held
    rhos = [party.state.rho for party in everyone]  # type: ignore[union-attr]
    assert jr2.open_bundle(desk.case, desk.bundle, rhos).round == state.round
    for missing in range(3):
        with pytest.raises(NotAuthentic):
            jr2.open_bundle(desk.case, desk.bundle, [r if i != missing else bytes(32) for i, r in enumerate(rhos)])


# B7, B8: nonces


def test_b7_a_nonce_used_again_with_another_lock_gives_away_the_release_key() -> None:
    key, _, _ = three()
    r = scalar()
    found = []
    for _ in range(2):
        nonce_point, response = adaptor(key, ED25519.base(scalar()), r)
        found.append((number(challenge(nonce_point, key.public, TEXT)), number(response)))
    (c1, s1), (c2, s2) = found
    assert as_scalar((s1 - s2) * pow(c1 - c2, -1, L)) == expand(key.seed)[0]


def test_b7_ours_repeats_no_nonce_even_when_the_random_source_always_gives_the_same_bytes() -> None:
    keys = three()[:2]
    observed = []
    for nonce in (b"1" * 32, b"2" * 32):
        about = a_round(keys, nonce=nonce)
        broken, honest = Party(about, keys[0], bytes), Party(about, keys[1])
        play([broken, honest])
        observed.append(parts(own_body(broken))[0])
    (r1, d1, s1), (r2, d2, s2) = observed
    c1, c2 = (number(challenge(r, keys[0].public, TEXT)) for r in (r1, r2))
    assert as_scalar((number(s1) - number(s2)) * pow(c1 - c2, -1, L)) != expand(keys[0].seed)[0]
    assert len({r1, r2, d1, d2}) == 4


def test_b7_a_step_repeated_from_a_copy_of_the_state_draws_anew() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    second = [party.receive(first) or b"" for party in everyone]
    copies = [jr2.load(everyone[0].vault) for _ in range(2)]
    values = []
    for state in copies:
        assert isinstance(state, jr2.Opened)
        values.append(parts(jr2.presign(state, second, everyone[0].key).presignature)[0])
    assert values[0][0] != values[1][0]
    assert values[0][1] != values[1][1]


def test_b8_a_nonce_that_the_seed_determines_is_a_receipt_for_whoever_seizes_the_seed() -> None:
    key, _, _ = three()
    _, prefix = expand(key.seed)
    y = ED25519.base(scalar())
    r = reduced(hashlib.sha512(prefix + TEXT).digest())
    nonce_point, _ = adaptor(key, y, r)
    assert ED25519.minus(nonce_point, y) == ED25519.base(r)
    assert ED25519.minus(ED25519.base(scalar()), y) != ED25519.base(r)


def test_b8_ours_draws_it_from_bytes_that_are_gone_so_the_seed_tells_nothing() -> None:
    everyone = parties(2)
    play(everyone)
    state, key = everyone[0].ready(), everyone[0].key
    nonce_point, mask_point, _ = parts(state.bodies[0])[0]
    y = total([row[0] for row in state.case.locks])
    r_point = ED25519.minus(ED25519.minus(nonce_point, y), mask_point)
    _, prefix = expand(key.seed)
    context = (b"\x00", y, mask_point, key.public)
    hedge = reduced(hashlib.sha512(lp("jr2/r/v1", prefix, state.round.sid, *context)).digest())
    assert r_point != ED25519.base(hedge)
    # With a random source of zeros the same computation does find it: so it is the right one to try.
    about = a_round([p.key for p in everyone])
    broken, honest = Party(about, key, bytes), Party(about, everyone[1].key)
    play([broken, honest])
    seen = broken.ready()
    nonce_point, mask_point, _ = parts(seen.bodies[0])[0]
    y = total([row[0] for row in seen.case.locks])
    context = (b"\x00", y, mask_point, key.public)
    hedge = reduced(hashlib.sha512(lp("jr2/r/v1", prefix, about.sid, *context)).digest())
    assert ED25519.minus(ED25519.minus(nonce_point, y), mask_point) == ED25519.base(hedge)


# B9: reuse


def test_b9_a_y_used_for_two_texts_completes_the_one_that_was_given_up() -> None:
    """Naive: one y for both. The published text gives it away, and with it the signature under the other text."""
    a, _, _ = three()
    y = scalar()
    lock = ED25519.base(y)
    published, given_up = adaptor(a, lock), adaptor(a, lock, text=b"given up\n")
    finished = ED25519.add(published[1], y)
    assert is_signature(a.public, published[0], finished)
    learnt = ED25519.sub(finished, published[1])  # by anybody who has the pre-signature and reads the board
    assert is_signature(a.public, given_up[0], ED25519.add(given_up[1], learnt), b"given up\n")


def test_b9_ours_draws_every_value_anew_for_each_round_and_text_even_from_a_broken_source() -> None:
    keys = three()[:2]
    seen: list[bytes] = []
    for nonce in (b"1" * 32, b"2" * 32):
        about = a_round(keys, (TEXT, b"Another copy.\n"), nonce)
        broken, honest = Party(about, keys[0], bytes), Party(about, keys[1])
        play([broken, honest])
        state = broken.ready()
        seen += [state.y[:32], state.y[32:], state.d[:32], state.d[32:], state.rho]
    assert len(set(seen)) == len(seen)
