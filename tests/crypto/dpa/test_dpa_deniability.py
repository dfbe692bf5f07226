"""Whatever anybody keeps of an attestation, anybody could have made.

The argument is in `pourparler_crypto.dpa.forging`: a genuine run and a forged one are the same function of the
same coins. Here that is checked to the byte, and a judge who makes every possible check is shown to accept
forgeries; the same judge refuses what is not in order, so that its acceptance means something.
"""

import ast
import hashlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import pairwise

import pytest

import pourparler_crypto.dpa
from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.dpa import Kind, Pair
from pourparler_crypto.dpa.forging import Transcript, forge, judge
from pourparler_crypto.dpa.formulas import commitment, mac, mac_key
from pourparler_crypto.dpa.testing import a_context, exchange, new_card, two_seats
from pourparler_crypto.dpa.wire import HEADER, run_of, write
from pourparler_crypto.errors import ProtocolError, UsageError


def public_cards() -> tuple[Pair, Card, Card]:
    """What a forger starts from: two cards whose keys are thrown away; leaf keys and a channel it made up."""
    amal, boris = new_card("Amal")[1], new_card("Boris")[1]
    return Pair(a_context(), amal.fingerprint, os.urandom(32), boris.fingerprint, os.urandom(32)), amal, boris


def sizes(run: Transcript) -> list[int]:
    return [len(message) for message in (*run.first, *run.second)]


# Anybody can make a run


def test_who_knows_only_public_keys_makes_a_whole_run_that_passes_every_check_without_private_keys() -> None:
    pair, amal, boris = public_cards()
    judge(forge(pair, amal, boris))


def test_it_passes_for_a_judge_who_holds_the_keys_of_both_cards() -> None:
    first, second = two_seats()
    genuine, forged = exchange(first, second), forge(first.pair, first.own, second.own)
    for run in (genuine, forged):
        for key1 in (None, first.key):
            for key2 in (None, second.key):
                judge(run, key1, key2)
    assert sizes(genuine) == sizes(forged)


def test_the_forger_uses_no_private_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("a private key was used")

    pair, amal, boris = public_cards()
    monkeypatch.setattr(CardKey, "open", refuse)
    monkeypatch.setattr(CardKey, "generate", refuse)
    judge(forge(pair, amal, boris))


class Coins:
    """The same coins, in the order in which either program asks for them."""

    def __init__(self, coins: list[bytes]) -> None:
        self.coins = list(coins)

    def __call__(self, length: int) -> bytes:
        coin = self.coins.pop(0)
        assert len(coin) == length
        return coin


def test_the_same_coins_give_the_same_bytes_whether_the_run_is_genuine_or_forged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The coins of an encapsulation are drawn inside the library; both programs are given the same encapsulations.
    first, second = two_seats()
    n1, n2, salt1, salt2 = (os.urandom(32) for _ in range(4))
    sealed = {
        (first.pair.info, n1): second.own.seal(first.pair.info, n1),
        (second.pair.info, n2): first.own.seal(second.pair.info, n2),
    }
    monkeypatch.setattr(Card, "seal", lambda _, info, plaintext: sealed[info, plaintext])
    unused = os.urandom(32), os.urandom(64)  # stand-ins for what cannot be decrypted; never seen in a run
    first.random, second.random = Coins([n1, salt1, *unused]), Coins([n2, salt2, *unused])
    genuine = exchange(first, second)
    forged = forge(first.pair, first.own, second.own, Coins([n1, n2, salt1, salt2]))
    assert genuine == forged


def test_every_coin_but_an_encapsulations_is_visible_in_the_run_so_nothing_kept_aside_is_evidence() -> None:
    # N and salts are all revealed. What a device could keep aside are the coins of its own encapsulation, which
    # show that it made its own challenge, and nothing about its peer.
    first, second = two_seats()
    run = exchange(first, second)
    coins = [run.first[2][HEADER:], run.second[2][HEADER:], run.first[3][HEADER:50], run.second[3][HEADER:50]]
    pair, sealed1, sealed2 = run.pair, run.first[0][HEADER:], run.second[0][HEADER:]
    key = mac_key(pair, coins[0], coins[1], sealed1, sealed2)
    assert commitment(coins[2], mac(key, pair)) == run.first[1][HEADER:]
    assert commitment(coins[3], mac(key, pair.mirrored)) == run.second[1][HEADER:]


def test_who_has_seen_both_n_can_write_any_other_answer_in_either_name() -> None:
    # A member turns a genuine run into one in which the peer attested a leaf it never had; the judge accepts it.
    first, second = two_seats()
    genuine = exchange(first, second)
    sealed1, sealed2 = genuine.first[0][HEADER:], genuine.second[0][HEADER:]
    n1, n2 = genuine.first[2][HEADER:], genuine.second[2][HEADER:]
    invented = replace(genuine.pair, peer_leaf=os.urandom(32))
    run, key = run_of(invented, sealed1, sealed2), mac_key(invented, n1, n2, sealed1, sealed2)

    def side(pair: Pair, sealed: bytes, n: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        salt, tag = os.urandom(32), mac(key, pair)
        return (
            write(Kind.CHALLENGE, pair, b"", sealed),
            write(Kind.COMMITMENT, pair, run, commitment(salt, tag)),
            write(Kind.REVEAL, pair, run, n),
            write(Kind.OPENING, pair, run, salt + tag),
        )

    judge(Transcript(invented, side(invented, sealed1, n1), side(invented.mirrored, sealed2, n2)))


def test_a_traitor_makes_the_other_side_of_a_run_alone_and_keeps_its_own_side_genuine() -> None:
    # Boris holds his own key and nothing of Amal's; what he shows is as good as a run with her.
    _, boris = two_seats()
    run = forge(boris.pair, boris.own, boris.peer)
    judge(run, boris.key, None)


# The judge does look


def broken_runs(run: Transcript) -> list[Transcript]:
    def altered(messages: tuple[bytes, bytes, bytes, bytes], which: int) -> tuple[bytes, bytes, bytes, bytes]:
        changed = [m[:-1] + bytes((m[-1] ^ 1,)) if i == which else m for i, m in enumerate(messages)]
        return changed[0], changed[1], changed[2], changed[3]

    return [
        *(replace(run, first=altered(run.first, which)) for which in range(4)),
        *(replace(run, second=altered(run.second, which)) for which in range(4)),
        replace(run, first=run.second, second=run.first),
        replace(run, pair=replace(run.pair, peer_leaf=os.urandom(32))),
        replace(run, pair=replace(run.pair, context=a_context())),
    ]


@pytest.mark.parametrize("which", range(11))
def test_the_judge_refuses_a_run_that_is_not_in_order(which: int) -> None:
    first, second = two_seats()
    broken = broken_runs(exchange(first, second))[which]
    with pytest.raises(ProtocolError):
        judge(broken)


def test_the_judge_with_a_key_refuses_a_run_in_which_another_secret_was_sealed() -> None:
    first, second = two_seats()
    exchange(first, second)
    forged = forge(first.pair, first.own, second.own)
    wrong = first.own.seal(second.pair.info, os.urandom(32))
    sealed1, n1, n2 = forged.first[0][HEADER:], forged.first[2][HEADER:], forged.second[2][HEADER:]
    run, key = run_of(first.pair, sealed1, wrong), mac_key(first.pair, n1, n2, sealed1, wrong)

    def side(pair: Pair, sealed: bytes, n: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        return (
            write(Kind.CHALLENGE, pair, b"", sealed),
            write(Kind.COMMITMENT, pair, run, commitment(bytes(32), mac(key, pair))),
            write(Kind.REVEAL, pair, run, n),
            write(Kind.OPENING, pair, run, bytes(32) + mac(key, pair)),
        )

    lie = Transcript(first.pair, side(first.pair, sealed1, n1), side(second.pair, wrong, n2))
    judge(lie)
    with pytest.raises(ProtocolError):
        judge(lie, first.key)


def test_the_forger_refuses_cards_that_are_not_of_the_pair() -> None:
    pair, amal, boris = public_cards()
    with pytest.raises(UsageError):
        forge(pair, boris, amal)


# A run that failed tells no more than one that did not


def failed_run(reason: str) -> Transcript:
    """A run in which the first device could not open the challenge, or the second lied about what it held."""
    first, second = two_seats()
    out1, out2 = first.begin(), second.begin()
    n = os.urandom(32)
    honest = first.own.seal(second.pair.info, n)
    sealed2 = os.urandom(1168) if reason == "not to be opened" else honest
    out2 = write(Kind.CHALLENGE, second.pair, b"", sealed2)
    run = run_of(first.pair, out1[HEADER:], sealed2)
    others = [
        out2,
        write(Kind.COMMITMENT, second.pair, run, os.urandom(64)),
        write(Kind.REVEAL, second.pair, run, os.urandom(32)),
        write(Kind.OPENING, second.pair, run, os.urandom(64)),
    ]
    for message in others[:3]:
        first.receive(message)
    a, b, c, d = first.sent
    return Transcript(first.pair, (a, b, c, d), (others[0], others[1], others[2], others[3]))


def what_a_third_party_sees(run: Transcript) -> list[object]:
    """All that can be computed without private keys: sizes, headers in order, whether each commitment opens."""
    both = (run.first, run.second)
    opened = [hashlib.sha512(messages[3][HEADER:]).digest() == messages[1][HEADER:] for messages in both]
    return [sizes(run), [message[:2] for messages in both for message in messages], opened]


def test_a_challenge_that_could_not_be_opened_looks_like_one_whose_secret_was_lied_about() -> None:
    could_not, was_lied_to = failed_run("not to be opened"), failed_run("a lie")
    assert what_a_third_party_sees(could_not) == what_a_third_party_sees(was_lied_to)


def test_up_to_the_last_message_a_failed_run_looks_like_a_good_one() -> None:
    failed, (first, second) = failed_run("not to be opened"), two_seats()
    good = exchange(first, second)
    assert [m[:2] for m in failed.first] == [m[:2] for m in good.first]
    assert sizes(failed) == sizes(good)
    # The commitment of the failed run is no constant, no echo and no hash of what the peer knows.
    committed = failed.first[1][HEADER:]
    known = [m[HEADER:] for m in (*failed.first[::2], *failed.second)]
    assert committed not in known
    assert all(hashlib.sha512(one + two).digest() != committed for one, two in pairwise([b"", *known, b""]))


@pytest.mark.parametrize("make", [failed_run, lambda _: exchange(*two_seats())])
def test_no_two_runs_share_a_byte_string_that_would_link_them(make: Callable[[str], Transcript]) -> None:
    one, two = make("a lie"), make("a lie")
    shared = {m[2:] for m in (*one.first, *one.second)} & {m[2:] for m in (*two.first, *two.second)}
    assert not shared


# What must never be there


def test_nothing_in_the_attestation_can_sign() -> None:
    for module in pkgutil.iter_modules(pourparler_crypto.dpa.__path__, "pourparler_crypto.dpa."):
        tree = ast.parse(inspect.getsource(import_module(module.name)))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        assert not {name for name in names | imported if "sign" in name.lower()}, module.name


def test_what_is_left_of_an_accepted_run_names_no_secret() -> None:
    first, second = two_seats()
    run = exchange(first, second)
    assert first.attested is not None
    left = repr(first.attested).encode()
    assert first.vault == b""
    for message in (*run.first, *run.second):
        assert message[HEADER:].hex().encode() not in left
        assert repr(message[HEADER:]).encode() not in left
