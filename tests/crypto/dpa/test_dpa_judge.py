"""The judge and the traitor: evidence against the one who answers. Also what a failed run shows."""

import hashlib
import hmac
import os
from dataclasses import replace

import pytest

from pourparler_crypto.dpa import MAX_OPENINGS, Kind, NotAttested, commit, load
from pourparler_crypto.dpa.formulas import commitment, mac, mac_key
from pourparler_crypto.dpa.states import Challenged, Committed
from pourparler_crypto.dpa.testing import (
    NOW,
    Seat,
    again,
    exchange,
    new_card,
    two_seats,
    victim_with_impostor,
)
from pourparler_crypto.dpa.wire import HEADER, run_of, write
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import UsageError


def test_an_answer_without_waiting_for_n_convinces_a_judge_who_made_the_challenge() -> None:
    # Naive variant with two messages: the traitor hands over a challenge of the judge's making, the victim's bare
    # MAC under its secret is evidence, for the traitor did not know it.
    victim, traitor = victim_with_impostor()
    n_of_judge = os.urandom(32)
    prepared = victim.own.seal(traitor.pair.info, n_of_judge)
    opened = victim.key.open(traitor.pair.info, prepared)
    answer = hmac.digest(opened, lp("attest", *victim.pair.parties), "sha256")
    assert answer == hmac.digest(n_of_judge, lp("attest", *victim.pair.parties), "sha256")


def test_a_challenge_that_a_judge_prepared_draws_no_opening() -> None:
    victim, traitor = victim_with_impostor()
    n_of_judge = os.urandom(32)
    victim.receive(traitor.challenge(victim.own.seal(traitor.pair.info, n_of_judge)))
    n_of_victim = victim.receive(traitor.says(Kind.COMMITMENT, os.urandom(64)))
    assert n_of_victim
    opened = victim.receive(traitor.says(Kind.REVEAL, os.urandom(32)))  # the traitor can only guess
    assert opened
    assert victim.warned
    # Later the judge has everything, and still nothing that only the victim could have made.
    traitor.n = n_of_judge
    key = mac_key(traitor.pair, n_of_judge, n_of_victim[HEADER:], traitor.sealed, victim.sent[0][HEADER:])
    committed = victim.sent[1][HEADER:]
    assert opened[-32:] != mac(key, victim.pair)
    assert hashlib.sha512(opened[HEADER:]).digest() != committed


def test_one_salt_for_two_transcripts_would_give_the_judge_a_receipt_so_each_commitment_draws_its_own() -> None:
    # A vault set back to before its commitment answers a second, prepared challenge. Had the salt been fixed at
    # the beginning, the first run's opening would disclose it, and the judge could check the second commitment.
    victim, traitor = victim_with_impostor()
    old_copy = victim.vault
    victim.receive(traitor.challenge())
    n_of_victim = victim.receive(traitor.says(Kind.COMMITMENT, os.urandom(64)))
    opening = victim.receive(traitor.says(Kind.REVEAL, traitor.n))
    assert n_of_victim
    assert opening
    salt = opening[HEADER : HEADER + 32]

    victim.vault = old_copy
    n_of_judge = os.urandom(32)
    prepared = victim.own.seal(traitor.pair.info, n_of_judge)
    second = victim.receive(traitor.challenge(prepared))
    assert second
    key = mac_key(traitor.pair, n_of_judge, n_of_victim[HEADER:], prepared, victim.sent[0][HEADER:])
    receipt = mac(key, victim.pair)
    state = load(victim.vault)
    assert isinstance(state, Committed)
    assert state.tag == receipt  # the tag is what the judge expects ...
    assert commitment(salt, receipt) != second[HEADER:]  # ... and the commitment does not show it
    assert state.salt != salt


def test_limit_a_judge_who_is_present_while_it_happens_is_convinced() -> None:
    # The judge tells the traitor N at the moment when it is asked for. Nothing without a live judge is left of it.
    victim, traitor = victim_with_impostor()
    n_of_judge = os.urandom(32)
    victim.receive(traitor.challenge(victim.own.seal(traitor.pair.info, n_of_judge)))
    victim.receive(traitor.says(Kind.COMMITMENT, os.urandom(64)))
    opened = victim.receive(traitor.says(Kind.REVEAL, n_of_judge))
    assert opened
    assert hashlib.sha512(opened[HEADER:]).digest() == victim.sent[1][HEADER:]


def test_limit_who_claims_a_card_learns_whose_the_other_leaf_is_before_it_fails_itself() -> None:
    # Somebody must open first. The impostor is convinced, and can convince nobody else: it could have made this.
    victim, impostor = victim_with_impostor()
    victim.receive(impostor.challenge())
    n = victim.receive(impostor.says(Kind.COMMITMENT, os.urandom(64)))
    opened = victim.receive(impostor.says(Kind.REVEAL, impostor.n))
    assert n
    assert opened
    key = mac_key(impostor.pair, impostor.n, n[HEADER:], impostor.sealed, victim.sent[0][HEADER:])
    assert opened[-32:] == mac(key, victim.pair)


def test_limit_whether_a_device_opens_tells_one_bit_that_the_peer_did_not_know() -> None:
    # The judge gives the traitor challenges with right and with wrong N; which open only the card's key knows.
    # Hence MAX_OPENINGS.
    learned = []
    for good in (True, False):
        victim, traitor = victim_with_impostor()
        n = os.urandom(32)
        sealed = victim.own.seal(traitor.pair.info, n if good else os.urandom(32))
        victim.receive(traitor.challenge(sealed))
        victim.receive(traitor.says(Kind.COMMITMENT, os.urandom(64)))
        opened = victim.receive(traitor.says(Kind.REVEAL, n))
        assert opened
        learned.append(hashlib.sha512(opened[HEADER:]).digest() == victim.sent[1][HEADER:])
    assert learned == [True, False]


def test_every_opening_counts_since_failures_alone_would_let_a_true_peer_collect_bits_without_end() -> None:
    # Boris is who he claims, plays along with a judge who makes his challenges, and is accepted each time: no
    # failure to count, and each time the judge sees that the key of Amal's card is at work.
    amal, boris = two_seats()
    failures = openings = 0
    for _ in range(MAX_OPENINGS):
        exchange(amal, boris)
        assert amal.attested
        failures, openings = failures + amal.warned, openings + 1
        amal, boris = again(amal), again(boris)
    assert failures == 0
    with pytest.raises(UsageError):
        amal.begin(openings)


def test_no_n_can_be_guessed_for_a_challenge_that_does_not_open() -> None:
    # A naive variant goes on with a fixed value: who reveals that value draws an opening for no challenge at all.
    stand_ins = []
    for guess in (bytes(32), b"\xff" * 32, None):
        victim, traitor = victim_with_impostor()
        victim.receive(traitor.challenge(os.urandom(1168)))
        state = load(victim.vault)
        assert isinstance(state, Committed)
        stand_ins.append(state.peer_n)
        victim.receive(traitor.says(Kind.COMMITMENT, os.urandom(64)))
        victim.receive(traitor.says(Kind.REVEAL, guess or state.own_n))
        assert victim.warned
        assert state.salt != state.peer_n
    assert len(set(stand_ins)) == 3


def test_the_thief_of_a_state_learns_nothing_on_the_challenge_that_the_card_key_would_not_tell() -> None:
    # A naive state remembers that decryption failed. Ours has the same fields and sizes, and random bytes in them.
    shapes = []
    for good in (True, False):
        victim, traitor = victim_with_impostor()
        body = traitor.sealed if good else os.urandom(1168)
        victim.receive(traitor.challenge(body))
        state = load(victim.vault)
        shapes.append({name: len(getattr(state, name)) for name in state.KEPT} | {"all": len(victim.vault)})
    assert shapes[0] == shapes[1]


# A card that is not a device's own


def test_a_device_that_has_lost_its_cards_key_attests_nothing_and_sends_as_much_as_any() -> None:
    amal, boris = two_seats()
    other_key, other = new_card("Boris")
    # Amal seals to the card in the roster; the device at the other end holds another key and answers for it.
    lost = Seat(replace(boris.pair, own=other.fingerprint), other_key, other, amal.own)
    to_amal, to_lost = amal.pair.mirrored, lost.pair.mirrored
    out1, out2 = amal.begin()[HEADER:], lost.begin()[HEADER:]
    run1, run2 = run_of(amal.pair, out1, out2), run_of(lost.pair, out2, out1)
    for kind in (Kind.CHALLENGE, Kind.COMMITMENT, Kind.REVEAL):
        under1, under2 = (b"", b"") if kind == Kind.CHALLENGE else (run1, run2)
        answer1 = amal.receive(write(kind, to_amal, under1, out2))
        answer2 = lost.receive(write(kind, to_lost, under2, out1))
        assert answer1
        assert answer2
        out1, out2 = answer1[HEADER:], answer2[HEADER:]
    with pytest.raises(NotAttested):
        amal.receive(write(Kind.OPENING, to_amal, run1, out2))
    with pytest.raises(NotAttested):
        lost.receive(write(Kind.OPENING, to_lost, run2, out1))
    assert [len(m) for m in amal.sent] == [len(m) for m in lost.sent] == [1186, 82, 50, 82]


def test_both_sides_of_a_failed_run_have_sent_as_much_as_in_a_good_one() -> None:
    good = two_seats()
    exchange(*good)
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    broken = out2[:HEADER] + os.urandom(1168)
    first.receive(broken)
    run = run_of(first.pair, out1[HEADER:], broken[HEADER:])
    second.receive(out1)
    wrong = write(Kind.COMMITMENT, second.pair, run, second.sent[1][HEADER:])
    first.receive(wrong)
    first.receive(write(Kind.REVEAL, second.pair, run, os.urandom(32)))
    assert [len(m) for m in first.sent] == [len(m) for m in good[0].sent]
    assert first.warned


def test_a_state_cannot_be_made_to_answer_two_challenges() -> None:
    victim, impostor = victim_with_impostor()
    state = load(victim.vault)
    assert isinstance(state, Challenged)
    commit(state, impostor.challenge(), own=victim.own, key=victim.key, now=NOW)
    with pytest.raises(ValueError, match="already"):
        commit(state, impostor.challenge(), own=victim.own, key=victim.key, now=NOW)
