"""Attacks by name. Each succeeds against a naive variant, written here, or is shown as a limit that is stated.

What an attacker in the middle can do, in every order, is searched in `test_dpa_explored.py`; here are the attacks
that change the protocol's parts, the keys, or time.
"""

import hmac
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pourparler_crypto.card import Card
from pourparler_crypto.dpa import Kind, NotAttested, OutOfTurn, Pair, WrongRun, load
from pourparler_crypto.dpa.formulas import commitment, mac
from pourparler_crypto.dpa.states import Challenged, Committed
from pourparler_crypto.dpa.testing import Impostor, Seat, again, exchange, two_seats, victim_with_impostor
from pourparler_crypto.dpa.wire import HEADER, run_of, write
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import NotAuthentic, ProtocolError

# Without the card's key


def test_who_learns_n_before_it_commits_is_accepted_so_n_comes_after_the_commitment() -> None:
    victim, impostor = victim_with_impostor()
    victim.receive(impostor.challenge())
    state = load(victim.vault)
    assert isinstance(state, Committed)
    early = state.own_n  # the naive variant: N revealed with, or before, the commitments
    opening = bytes(32) + impostor.tag(early)
    victim.receive(impostor.says(Kind.COMMITMENT, commitment(opening[:32], opening[32:])))
    victim.receive(impostor.says(Kind.REVEAL, impostor.n))
    victim.receive(impostor.says(Kind.OPENING, opening))
    assert victim.attested


def test_nothing_makes_a_device_reveal_before_the_peer_has_committed() -> None:
    victim, impostor = victim_with_impostor()
    state = load(victim.vault)
    assert isinstance(state, Challenged)
    n = state.own_n
    victim.receive(impostor.challenge())
    before = victim.vault
    for kind, body in ((Kind.REVEAL, impostor.n), (Kind.OPENING, os.urandom(64))):
        with pytest.raises(OutOfTurn):
            victim.receive(impostor.says(kind, body))
    with pytest.raises(OutOfTurn):
        victim.receive(impostor.challenge())
    assert victim.vault == before
    assert not any(n in message for message in victim.sent)


def test_who_commits_without_the_card_key_is_not_accepted_by_any_later_knowledge() -> None:
    victim, impostor = victim_with_impostor()
    victim.receive(impostor.challenge())
    guess = impostor.tag(os.urandom(32))
    revealed = victim.receive(impostor.says(Kind.COMMITMENT, commitment(bytes(32), guess)))
    assert revealed
    right = impostor.tag(revealed[HEADER:])  # now it can compute everything, too late
    victim.receive(impostor.says(Kind.REVEAL, impostor.n))
    for opening in (bytes(32) + guess, bytes(32) + right, os.urandom(64), bytes(64)):
        with pytest.raises(NotAttested):
            victim.receive(impostor.says(Kind.OPENING, opening))
    assert victim.attested is None


def test_only_the_first_commitment_counts() -> None:
    victim, impostor = victim_with_impostor()
    victim.receive(impostor.challenge())
    revealed = victim.receive(impostor.says(Kind.COMMITMENT, os.urandom(64)))
    assert revealed
    right = impostor.tag(revealed[HEADER:])
    with pytest.raises(OutOfTurn):
        victim.receive(impostor.says(Kind.COMMITMENT, commitment(bytes(32), right)))


def test_limit_a_vault_set_back_to_before_its_reveal_is_deceived_which_is_why_old_copies_halt() -> None:
    victim, impostor = victim_with_impostor()
    victim.receive(impostor.challenge())
    old_copy = victim.vault
    revealed = victim.receive(impostor.says(Kind.COMMITMENT, os.urandom(64)))
    assert revealed
    victim.vault = old_copy  # DESIGN 4.1, #11: the client notices by its counts and drops the run
    right = impostor.tag(revealed[HEADER:])
    victim.receive(impostor.says(Kind.COMMITMENT, commitment(bytes(32), right)))
    victim.receive(impostor.says(Kind.REVEAL, impostor.n))
    victim.receive(impostor.says(Kind.OPENING, bytes(32) + right))
    assert victim.attested


# Key-compromise impersonation


def static_mac(own: X25519PrivateKey, peer: X25519PrivateKey, said: bytes) -> bytes:
    """The naive variant: a MAC under the two cards' static Diffie-Hellman secret."""
    return hmac.digest(own.exchange(peer.public_key()), said, "sha256")


def test_a_static_mac_lets_the_thief_of_boriss_key_pose_as_amal_to_boris() -> None:
    amal, boris = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    stolen = boris
    by_the_thief = hmac.digest(stolen.exchange(amal.public_key()), b"I am Amal", "sha256")
    assert by_the_thief == static_mac(amal, boris, b"I am Amal")


def test_the_thief_of_boriss_key_cannot_pose_as_amal_to_boris() -> None:
    _, boris = two_seats()
    boris.begin()
    thief = Impostor(boris)  # claims Amal's card
    with pytest.raises(NotAuthentic):
        boris.key.open(boris.pair.info, boris.sent[0][HEADER:])  # what the stolen key gives for Boris's challenge
    boris.receive(thief.challenge())
    boris.receive(thief.says(Kind.COMMITMENT, commitment(bytes(32), thief.tag(thief.n))))
    boris.receive(thief.says(Kind.REVEAL, thief.n))
    with pytest.raises(NotAttested):
        boris.receive(thief.says(Kind.OPENING, bytes(32) + thief.tag(thief.n)))


# Binding: channel, leaf, card, attempt, direction


def altered(pair: Pair) -> Iterator[Pair]:
    context = pair.context
    yield replace(pair, context=replace(context, group_id=os.urandom(32)))
    yield replace(pair, context=replace(context, epoch=context.epoch + 1))
    yield replace(pair, context=replace(context, tree_hash=os.urandom(48)))
    yield replace(pair, own_leaf=os.urandom(32))
    yield replace(pair, peer_leaf=os.urandom(32))
    yield replace(pair, own_leaf=pair.peer_leaf, peer_leaf=pair.own_leaf)
    yield replace(pair, attempt=2)


@pytest.mark.parametrize("which", range(7))
def test_two_devices_that_see_anything_differently_attest_nothing(which: int) -> None:
    first, second = two_seats()
    second.pair = list(altered(second.pair))[which]
    first.begin()
    with pytest.raises(WrongRun):
        first.receive(second.begin())


@pytest.mark.parametrize("which", range(7))
def test_and_nothing_but_headers_can_be_made_to_fit_by_who_stands_between(which: int) -> None:
    first, second = two_seats()
    second.pair = list(altered(second.pair))[which]
    to_first, to_second = first.pair.mirrored, second.pair.mirrored
    out1, out2 = first.begin()[HEADER:], second.begin()[HEADER:]
    run1, run2 = run_of(first.pair, out1, out2), run_of(second.pair, out2, out1)
    for kind in Kind:
        under1, under2 = (b"", b"") if kind == Kind.CHALLENGE else (run1, run2)
        letter1, letter2 = write(kind, to_first, under1, out2), write(kind, to_second, under2, out1)
        if kind == Kind.OPENING:
            for device, letter in ((first, letter1), (second, letter2)):
                with pytest.raises(NotAttested):
                    device.receive(letter)
            break
        answer1, answer2 = first.receive(letter1), second.receive(letter2)
        assert answer1
        assert answer2
        out1, out2 = answer1[HEADER:], answer2[HEADER:]
    assert first.warned
    assert second.warned


@pytest.mark.parametrize("part", ["ctx", "leaves", "cards"])
def test_a_tag_that_left_out_a_part_would_fit_where_it_was_not_made_for(part: str) -> None:
    # The naive tag is the same in two places that differ in the part left out; ours differs.
    first, _ = two_seats()
    pair, key = first.pair, os.urandom(32)
    here_and_there = {
        "ctx": replace(pair, context=replace(pair.context, group_id=b"elsewhere")),
        "leaves": replace(pair, peer_leaf=os.urandom(32)),
        "cards": replace(pair, peer=os.urandom(32)),
    }
    without: dict[str, Callable[[Pair], bytes]] = {
        "ctx": lambda p: lp("attest", *p.parties),
        "leaves": lambda p: lp("attest", p.ctx, p.own, p.peer),
        "cards": lambda p: lp("attest", p.ctx, p.own_leaf, p.peer_leaf),
    }
    there = here_and_there[part]
    naive = without[part]
    assert hmac.digest(key, naive(pair), "sha256") == hmac.digest(key, naive(there), "sha256")
    assert mac(key, pair) != mac(key, there)


def test_a_device_that_claims_the_same_key_under_another_name_is_another_card() -> None:
    # Unknown key share: Mallory registers Boris's public key, to have Boris's answers taken for Mallory's.
    first, boris = two_seats()
    mallory = Card("Mallory", boris.own.public)
    claimed = replace(first.pair, peer=mallory.fingerprint, peer_leaf=b"M" * 32)
    amal = Seat(claimed, first.key, first.own, mallory)
    sealed = amal.begin()[HEADER:]
    with pytest.raises(NotAuthentic):
        boris.key.open(boris.pair.mirrored.info, sealed)  # Boris's device opens under no other name than his
    assert boris.key.open(claimed.info, sealed)  # with info left empty, as in a naive variant, he would


# Replay and reflection


def test_no_message_of_an_earlier_run_is_taken_in_a_later_one() -> None:
    first, second = two_seats()
    exchange(first, second)
    for make in (again, in_the_next_epoch):
        later = make(first)
        later.begin()
        for message in [*first.sent, *second.sent]:
            with pytest.raises(ProtocolError):
                later.receive(message)


def in_the_next_epoch(seat: Seat) -> Seat:
    pair = replace(seat.pair, context=replace(seat.pair.context, epoch=seat.pair.context.epoch + 1))
    return Seat(pair, seat.key, seat.own, seat.peer)


def test_a_recorded_run_replayed_with_fitting_headers_attests_nobody() -> None:
    # The same pair in the same attempt, as after a fresh installation: the replayer knows the old run.
    first, second = two_seats()
    exchange(first, second)
    fresh = Seat(first.pair, first.key, first.own, first.peer)
    replayer = Impostor(fresh)
    fresh.begin()
    fresh.receive(replayer.challenge(second.sent[0][HEADER:]))
    fresh.receive(replayer.says(Kind.COMMITMENT, second.sent[1][HEADER:]))
    fresh.receive(replayer.says(Kind.REVEAL, second.sent[2][HEADER:]))
    assert (
        not fresh.warned
    )  # the old challenge was genuine: the replayer draws one opening, which anybody could make
    with pytest.raises(NotAttested):
        fresh.receive(replayer.says(Kind.OPENING, second.sent[3][HEADER:]))


def test_ones_own_messages_sent_back_are_of_no_run() -> None:
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    for _ in range(3):
        with pytest.raises((WrongRun, OutOfTurn)):
            first.receive(out1)
        answer1, answer2 = first.receive(out2), second.receive(out1)
        assert answer1
        assert answer2
        out1, out2 = answer1, answer2
    with pytest.raises(WrongRun):
        first.receive(out1)


def test_ones_own_commitment_and_opening_in_the_peers_name_attest_nobody() -> None:
    victim, impostor = victim_with_impostor()
    committed = victim.receive(impostor.challenge())
    assert committed
    victim.receive(impostor.says(Kind.COMMITMENT, committed[HEADER:]))
    opened = victim.receive(impostor.says(Kind.REVEAL, impostor.n))
    assert opened
    with pytest.raises(NotAttested):
        victim.receive(impostor.says(Kind.OPENING, opened[HEADER:]))


@pytest.mark.parametrize("order", [(0, 2), (0, 3), (1, 0), (2, 1), (3, 0)])
def test_steps_in_another_order_are_refused_and_change_nothing(order: tuple[int, int]) -> None:
    first, second = two_seats()
    exchange(first, second)
    had, sent = order
    replayed = Seat(first.pair, first.key, first.own, first.peer)
    replayed.begin()
    impostor = Impostor(replayed)
    script = [
        impostor.challenge(),
        impostor.says(Kind.COMMITMENT, os.urandom(64)),
        impostor.says(Kind.REVEAL, impostor.n),
        impostor.says(Kind.OPENING, os.urandom(64)),
    ]
    for message in script[:had]:
        replayed.receive(message)
    before = replayed.vault
    with pytest.raises(OutOfTurn):
        replayed.receive(script[sent])
    assert replayed.vault == before
