"""A joint release from R1 to the publication, with crashes, repetitions and days between."""

import os
import random as deterministic
from itertools import permutations

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.errors import NotAuthentic, UsageError
from pourparler_crypto.jr2 import Kind, size
from pourparler_crypto.jr2.signatures import verify
from pourparler_crypto.jr2.testing import NOW, TERMS, TEXT, Party, a_round, again, desk_of, parties, play, release
from pourparler_crypto.releasekey import ReleaseKey

TWO_TEXTS = (b"First copy.\n", b"Second copy.\n")


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_all_parties_sign_and_every_signature_is_a_stock_one(count: int) -> None:
    everyone = parties(count)
    _, (done,) = release(everyone)
    assert done.keys == tuple(party.key.public for party in everyone)
    assert len(set(done.signatures)) == count
    for public, signature in zip(done.keys, done.signatures, strict=True):
        verify(public, TEXT, signature)
        with pytest.raises(NotAuthentic):
            verify(public, TEXT + b"not", signature)


def test_parallel_texts_are_completed_together() -> None:
    everyone = parties(3, TWO_TEXTS)
    _, done = release(everyone)
    assert [one.text for one in done] == list(TWO_TEXTS)
    assert all(len(one.signatures) == 3 for one in done)


def test_the_largest_round_fits_its_limits() -> None:
    count = jr2.MAX_TEXTS
    long = jr2.MAX_TEXT_BYTES // count
    everyone = parties(2, [bytes((65 + k,)) * long for k in range(count)])
    play(everyone)
    ready = everyone[0].ready()
    assert len(everyone[0].vault) <= jr2.MAX_STATE
    assert len(ready.bundle) in jr2.BUNDLE_SIZES
    most = jr2.MAX_PARTIES
    presignatures = most * jr2.MAX_TEXTS * 96
    assert jr2.MAX_TEXT_BYTES + presignatures + most * 32 + 4 * jr2.MAX_TEXTS + 256 <= jr2.BUNDLE_SIZES[-1]
    points = most * jr2.MAX_TEXTS * 32
    assert 2 * points + most * 64 + 512 <= jr2.MAX_CASE
    state = jr2.MAX_TEXT_BYTES + presignatures + 2 * points + most * 32 + 16 * jr2.MAX_TEXTS * 32 + 4096
    assert state <= jr2.MAX_STATE


def test_messages_have_the_sizes_that_are_documented() -> None:
    for texts in (1, 2):
        everyone = parties(2, TWO_TEXTS[:texts])
        release(everyone)
        sizes = [size(kind, texts) for kind in Kind]
        assert [len(message) for message in everyone[0].sent] == sizes
    assert [size(kind) for kind in Kind] == [82, 82, 114, 50, 82]


def test_every_client_computes_the_same_case_and_bundle() -> None:
    everyone = parties(4)
    play(everyone)
    assert len({party.ready().case.handle for party in everyone}) == 1
    assert len({party.ready().bundle for party in everyone}) == 1
    assert len({party.ready().case.digits for party in everyone}) == 1


def test_messages_may_come_in_any_order_repeated_and_with_ones_own() -> None:
    everyone = parties(3)
    first = [party.begin() for party in everyone]
    second = []
    for party, order in zip(everyone, permutations(first), strict=False):
        second.append(party.receive([*order, *order]))
    third = [party.receive([m for m in second[::-1] if m]) for party in everyone]
    for party in everyone:
        party.receive([m for m in third if m and m != party.sent[-1]])
        assert party.ready()


def test_a_step_that_comes_too_early_says_who_is_missing_and_changes_nothing() -> None:
    everyone = parties(3)
    first = [party.begin() for party in everyone]
    before = everyone[0].vault
    with pytest.raises(jr2.Incomplete) as caught:
        everyone[0].receive([first[0], first[2]])
    assert caught.value.missing == (2,)
    assert everyone[0].vault == before
    assert everyone[0].receive(first)


def test_after_a_crash_anywhere_the_same_bytes_are_sent_again() -> None:
    everyone = parties(3)
    play(everyone)
    party = everyone[0]
    assert party.state.sent == tuple(party.sent)
    desk = desk_of(party)
    for each in everyone:
        desk.take_mask(each.sign())
    assert party.state.sent == tuple(party.sent)
    masks = desk.masks()
    assert masks
    party.receive(masks)
    assert party.state.sent == tuple(party.sent)
    assert party.state.sent == jr2.load(party.vault).sent


def test_a_party_that_lost_everything_after_signing_holds_what_it_needs_in_the_vault() -> None:
    """The laptop is closed after R4, and opened a day later, when the others have gone on."""
    everyone = parties(3)
    play(everyone)
    desk = desk_of(everyone[1])
    for party in everyone:
        desk.take_mask(party.sign())
    kept = everyone[0].vault
    masks = desk.masks()
    assert masks
    for party in everyone[1:]:
        desk.take_share(party.receive(masks) or b"")
    state = jr2.load(kept)
    assert isinstance(state, jr2.Signed)
    desk.take_share(jr2.deposit(state, masks).message)
    assert len(desk.publish()[0].signatures) == 3


def test_a_state_is_used_once() -> None:
    everyone = parties(2)
    play(everyone)
    ready = everyone[0].ready()
    jr2.sign(ready)
    with pytest.raises(jr2.AlreadyUsed):
        jr2.sign(ready)
    with pytest.raises(jr2.AlreadyUsed):
        ready.encode()
    assert ready.y == ready.d == b""


def test_who_withdraws_erases_and_can_not_go_on() -> None:
    everyone = parties(2)
    play(everyone)
    signed = jr2.sign(everyone[0].ready())
    assert signed.case.texts == 1
    signed.erase()
    assert not {"case", "bundle"} & set(vars(signed))
    assert signed.y == signed.mask == signed.rhos == b""
    with pytest.raises(jr2.AlreadyUsed):
        jr2.deposit(signed, [])
    with pytest.raises(jr2.AlreadyUsed):
        _ = signed.message


def test_if_the_desk_stays_silent_any_signer_completes_from_the_shares() -> None:
    everyone = parties(3)
    desk, done = release(everyone)
    shares = [party.sent[-1] for party in everyone]
    for party in everyone:
        assert party.finish(shares) == done
    assert desk.case.handle == everyone[0].state.case.handle  # type: ignore[union-attr]


def test_whoever_saw_complete_can_pass_on_all_masks() -> None:
    everyone = parties(3)
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone:
        desk.take_mask(party.sign())
    masks = desk.masks()
    assert masks
    everyone[0].receive(masks)
    deposited = everyone[0].state
    assert isinstance(deposited, jr2.Deposited)
    assert sorted(deposited.mask_messages) == sorted(masks)
    assert everyone[1].receive(deposited.mask_messages)


def test_one_published_signature_gives_away_all_the_others() -> None:
    """Whoever withholds its y but publishes somebody's signature has published all of them."""
    everyone = parties(3, TWO_TEXTS)
    _, done = release(everyone)
    state = everyone[1].state
    assert isinstance(state, jr2.Deposited)
    assert jr2.finish_from(state, 3, [one.signatures[2] for one in done]) == done
    with pytest.raises(NotAuthentic):
        jr2.finish_from(state, 3, [one.signatures[1] for one in done])
    with pytest.raises(UsageError):
        jr2.finish_from(state, 4, [one.signatures[2] for one in done])


def test_a_signature_of_another_round_completes_nothing() -> None:
    everyone = parties(2)
    second_time = again(everyone)
    release(everyone)
    _, (other,) = release(second_time)
    state = everyone[0].state
    assert isinstance(state, jr2.Deposited)
    with pytest.raises(NotAuthentic, match="not made in this round"):
        jr2.finish_from(state, 1, [other.signatures[0]])


def test_a_second_appointment_shares_nothing_with_the_first() -> None:
    everyone = parties(2)
    second_time = again(everyone)
    first, second = play(everyone), play(second_time)
    assert first.round.sid != second.round.sid
    fresh = Party(second.round, everyone[1].key)
    fresh.begin()
    with pytest.raises(jr2.WrongRound):
        fresh.receive([first.commitments[0]])


def test_any_course_of_crashes_and_repetitions_ends_in_the_same_signatures() -> None:
    """Messages are delivered one by one in a random order, several times; each party is reloaded each time."""
    for seed in range(12):
        chance = deterministic.Random(seed)
        everyone = parties(3, random=chance.randbytes)
        inbox: list[bytes] = [party.begin() for party in everyone]
        while not all(isinstance(party.state, jr2.Ready) for party in everyone):
            party = chance.choice(everyone)
            if isinstance(party.state, jr2.Ready):
                continue
            seen = [m for m in inbox if jr2.peek(m).kind == party.state.NUMBER]
            delivered = chance.choices(seen, k=6)
            try:
                answer = party.receive(delivered)
            except jr2.Incomplete:
                continue
            inbox.extend([answer] if answer else [])
        desk = desk_of(chance.choice(everyone))
        signed = [party.sign() for party in everyone]
        for message in chance.choices(signed, k=9) + signed:
            desk.take_mask(message)
        masks = desk.masks()
        assert masks
        for party in everyone:
            desk.take_share(party.receive(masks) or b"")
        assert len(desk.publish()[0].signatures) == 3


def test_the_desk_shows_nothing_until_the_last_party_has_signed() -> None:
    everyone = parties(3)
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone[:-1]:
        desk.take_mask(party.sign())
        assert desk.masks() is None
    desk.take_mask(everyone[-1].sign())
    assert desk.masks()


def test_a_party_that_has_not_signed_deposits_nothing_whatever_the_desk_says() -> None:
    everyone = parties(2)
    play(everyone)
    mask = everyone[0].sign()
    with pytest.raises(jr2.Incomplete):
        everyone[0].receive([mask])
    other = parties(2)
    play(other)
    with pytest.raises(jr2.WrongRound):
        everyone[0].receive([mask, other[1].sign()])


# What can be a round


def test_a_round_has_two_to_thirty_two_parties_with_keys_of_their_own() -> None:
    keys = [ReleaseKey.generate() for _ in range(33)]
    with pytest.raises(UsageError, match="2 to 32 parties"):
        a_round(keys[:1])
    with pytest.raises(UsageError, match="2 to 32 parties"):
        a_round(keys)
    with pytest.raises(UsageError, match="same release key"):
        a_round([keys[0], keys[1], keys[0]])
    with pytest.raises(UsageError, match="party 2 is not a valid"):
        jr2.Round(bytes(32), (TEXT,), (keys[0].public, bytes(32)), TERMS)


def test_a_round_has_texts_that_differ_and_are_not_too_long() -> None:
    keys = [ReleaseKey.generate() for _ in range(2)]
    for texts in ((), (b"",), (TEXT, TEXT), (b"a" * (jr2.MAX_TEXT_BYTES + 1),)):
        with pytest.raises(UsageError):
            a_round(keys, texts)
    with pytest.raises(UsageError):
        a_round(keys, nonce=b"short")


def test_who_does_not_sign_begins_no_round() -> None:
    about = a_round([ReleaseKey.generate() for _ in range(2)])
    with pytest.raises(UsageError, match="not among"):
        jr2.commit(about, ReleaseKey.generate())


def test_deadlines_stand_in_their_order() -> None:
    for times in ((3, 2, 4), (2, 2, 4), (2, 4, 3), (0, 1, 2)):
        with pytest.raises(UsageError):
            jr2.Terms(*times)
    jr2.Terms(1, 2, 2)


def test_the_desk_knows_each_stage_by_its_clock() -> None:
    day = 86_400
    seen = [TERMS.stage(NOW + offset) for offset in (0, day - 1, day, 2 * day - 1, 2 * day, 3 * day - 1, 3 * day)]
    stage = jr2.Stage
    assert seen == [stage.SIGNING] * 2 + [stage.DEPOSIT] * 2 + [stage.WAITING] * 2 + [stage.DUE]
    assert TERMS.may_stop(TERMS.not_before - 3601)
    assert not TERMS.may_stop(TERMS.not_before - 3600)
    assert not jr2.Terms(1, 2, 3).may_stop(1)
    assert jr2.Terms(1, 2, 3, 0).may_stop(2)


def test_a_random_source_that_returns_too_little_is_refused() -> None:
    key = ReleaseKey.generate()
    about = a_round([key, ReleaseKey.generate()])
    with pytest.raises(UsageError, match="random source"):
        jr2.commit(about, key, random=lambda count: os.urandom(count - 1))
