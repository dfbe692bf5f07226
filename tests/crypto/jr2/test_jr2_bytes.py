"""Bytes from outside: parsed strictly, refused with a reason, and never at the price of a state."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt

from pourparler_crypto import jr2, sodium
from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, ProtocolError, UsageError
from pourparler_crypto.jr2 import Kind, size
from pourparler_crypto.jr2.checks import check_openings
from pourparler_crypto.jr2.testing import TERMS, Party, desk_of, parties, play, scalar
from pourparler_crypto.jr2.wire import HEADER, commitment, read, write

TEXTS = (b"First copy.\n", b"Second copy.\n")


def at_each_step() -> list[tuple[Party, list[bytes]]]:
    """A party before each step that takes messages, with the messages of all."""
    found = []
    everyone = parties(2, TEXTS)
    messages = [party.begin() for party in everyone]
    for _ in range(2):
        found.append((_copy(everyone[0]), messages))
        messages = [party.receive(messages) or b"" for party in everyone]
    found.append((_copy(everyone[0]), messages))
    for party in everyone:
        party.receive(messages)
    messages = [party.sign() for party in everyone]
    found.append((_copy(everyone[0]), messages))
    return found


def _copy(party: Party) -> Party:
    copy = Party(party.round, party.key)
    copy.vault = party.vault
    return copy


def test_a_changed_bit_anywhere_in_any_message_is_refused_and_changes_nothing() -> None:
    for party, messages in at_each_step():
        before = party.vault
        for position in range(len(messages[1])):
            altered = bytearray(messages[1])
            altered[position] ^= 1 << (position % 8)
            # A commitment may be any 64 bytes: that it was altered shows when it is opened.
            if messages[1][0] == Kind.COMMITMENT and position >= HEADER:
                continue
            with pytest.raises(CryptoError):
                party.receive([messages[0], bytes(altered)])
            assert party.vault == before
        assert party.receive(messages) is not None or isinstance(party.state, jr2.Ready)


def test_shorter_and_longer_messages_are_refused() -> None:
    for party, messages in at_each_step():
        for wrong in (messages[1][:-1], messages[1] + b"\0", messages[1][:HEADER], b"", b"\1", os.urandom(9000)):
            with pytest.raises(Malformed):
                party.receive([wrong])


def test_a_message_of_another_step_is_out_of_turn_and_of_an_unknown_party_malformed() -> None:
    for party, messages in at_each_step():
        kind = Kind(messages[1][0])
        other = Kind.OPENING if kind != Kind.OPENING else Kind.COMMITMENT
        with pytest.raises(jr2.OutOfTurn):
            party.receive([bytes((other,)) + messages[1][1:]])
        for number in (0, 3, 33, 255):
            with pytest.raises(Malformed):
                party.receive([bytes((kind, number)) + messages[1][2:]])


def test_two_different_messages_of_one_party_are_a_contradiction_and_ones_own_altered_is_another_thing() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    altered = [message[:-1] + bytes((message[-1] ^ 1,)) for message in first]
    with pytest.raises(jr2.Contradiction) as caught:
        everyone[0].receive([first[1], altered[1]])
    assert caught.value.party == 2
    with pytest.raises(jr2.OwnAltered):
        everyone[0].receive([altered[0], first[1]])


def test_every_fault_names_a_party_and_says_what_it_does_not_prove() -> None:
    for fault in (jr2.Contradiction, jr2.BadOpening, jr2.BadPresignature, jr2.BadMask, jr2.BadShare):
        error = fault(2, "something is wrong")
        assert error.party == 2
        assert "This does not prove that party 2 did it" in str(error)
    copied = jr2.Copied(3, 1, "point")
    assert (copied.party, copied.other) == (3, 1)
    assert "which of the two copied is not shown" in str(copied)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=4000))
def test_no_bytes_raise_anything_but_what_is_documented(data: bytes) -> None:
    for parse in (jr2.peek, jr2.Case.decode, jr2.Terms.decode, jr2.Round.decode, jr2.load):
        with pytest.raises(CryptoError):
            parse(data + b"\xff")


def edited(good: bytes, parse: Callable[[bytes], object], kind: type[Exception]) -> None:
    """Every cut, and a change of every seventh byte, is refused or gives another value."""
    value = parse(good)
    for end in range(0, len(good), 5):
        with pytest.raises(kind):
            parse(good[:end])
    with pytest.raises(kind):
        parse(good + b"\0")
    for position in range(0, len(good), 7):
        changed = bytearray(good)
        changed[position] ^= 0x80
        try:
            assert parse(bytes(changed)) != value
        except CryptoError as error:
            assert isinstance(error, kind)


def test_cases_rounds_and_terms_have_one_encoding_each() -> None:
    everyone = parties(3, TEXTS)
    play(everyone)
    case = everyone[0].ready().case
    edited(case.encode(), jr2.Case.decode, Malformed)
    edited(everyone[0].round.encode(), jr2.Round.decode, ProtocolError)
    edited(TERMS.encode(), jr2.Terms.decode, Malformed)
    without = jr2.Terms(1, 2, 3)
    assert jr2.Terms.decode(without.encode()) == without
    with pytest.raises(Malformed):
        jr2.Terms.decode(without.encode()[:-1] + b"\1")  # no stop rule, and seconds
    with pytest.raises(Malformed):
        jr2.Terms.decode(TERMS.encode()[:24] + b"\2" + TERMS.encode()[25:])


def test_every_state_is_read_back_and_no_other_bytes_are() -> None:
    everyone = parties(2, TEXTS)
    seen = []
    messages = [party.begin() for party in everyone]
    seen.append(everyone[0].vault)
    for _ in range(3):
        messages = [party.receive(messages) or b"" for party in everyone]
        seen.append(everyone[0].vault)
    messages = [party.sign() for party in everyone]
    seen.append(everyone[0].vault)
    everyone[0].receive(messages)
    seen.append(everyone[0].vault)
    for number, vault in enumerate(seen, 1):
        state = jr2.load(vault)
        assert number == state.NUMBER
        assert state.encode() == vault
        for wrong in (vault[:-1], vault + b"\0", b"", b"\0" * (jr2.MAX_STATE + 1), vault.replace(b"v1", b"v2", 1)):
            with pytest.raises(UsageError):
                jr2.load(wrong)


def test_no_state_shows_its_secrets_when_printed() -> None:
    everyone = parties(2)
    play(everyone)
    ready = everyone[0].ready()
    for shown in (repr(ready), repr(everyone[0].key), repr(jr2.sign(ready))):
        assert "object at" in shown


def test_old_libsodium_is_refused_when_this_package_is_imported() -> None:
    """`jr2.group` imports `sodium`, which checks the version at import and names the reason."""
    for version in ("1.5.0", "1.6.1"):
        with pytest.raises(ImportError, match="CVE-2025-69277"):
            sodium.refuse_old_pynacl(version)
    assert jr2.steps.__name__  # type: ignore[attr-defined]
    source = jr2.group._sodium  # type: ignore[attr-defined]
    assert source is sodium


def test_the_reader_of_messages_checks_tag_before_form_so_that_strangers_are_ignored() -> None:
    party = parties(2)[0]
    own = party.begin()
    foreign = write(Kind.COMMITMENT, 2, bytes(64), bytes(3))
    with pytest.raises(jr2.WrongRound):
        read(Kind.COMMITMENT, party.round.sid, 2, 1, foreign)
    assert jr2.peek(own).kind == Kind.COMMITMENT
    assert size(Kind.COMMITMENT, 5) == len(own)


# The desk


def test_a_changed_list_deadline_or_bundle_is_another_case() -> None:
    everyone = parties(2)
    play(everyone)
    desk = desk_of(everyone[0])
    other = desk_of_another()
    with pytest.raises(jr2.CaseMismatch):
        desk.case.check_handle(other.case.handle)
    with pytest.raises(jr2.CaseMismatch):
        desk.case.check_bundle(other.bundle)
    with pytest.raises(jr2.CaseMismatch):
        desk.case.check_bundle(desk.bundle + b"\0")
    rhos = [party.state.rho for party in everyone]  # type: ignore[union-attr]
    with pytest.raises(jr2.CaseMismatch):
        jr2.open_bundle(desk.case, other.bundle, rhos)


def desk_of_another() -> object:
    everyone = parties(2)
    play(everyone)
    return desk_of(everyone[0])


def test_the_bundle_has_one_of_few_sizes() -> None:
    assert [size % 1024 for size in jr2.BUNDLE_SIZES] == [0] * 5
    for length, expected in ((10, 4096), (4000, 16384), (60_000, 65536), (100_000, 262144), (300_000, 524288)):
        everyone = parties(2, (b"a" * length,))
        play(everyone)
        assert len(everyone[0].ready().bundle) == expected


def test_a_deposit_that_fits_nothing_is_refused_and_tells_whose_it_claims_to_be() -> None:
    everyone = parties(2)
    play(everyone)
    ready = everyone[0].ready()
    handle = ready.case.handle
    for body in (bytes(32), b"\xff" * 32, os.urandom(31) + b"\0", ready.y):
        with pytest.raises(jr2.BadMask) as caught:
            jr2.check_mask(ready.case, write(Kind.MASK, 2, handle, body))
        assert caught.value.party == 2
    good = ready.y + ready.rho
    jr2.check_share(ready.case, write(Kind.SHARE, 1, handle, good))
    for body in (bytes(32) + ready.rho, ready.y + bytes(32), ready.d + ready.rho):
        with pytest.raises(jr2.BadShare):
            jr2.check_share(ready.case, write(Kind.SHARE, 1, handle, body))


def test_the_desk_completes_only_with_every_value() -> None:
    everyone = parties(3)
    play(everyone)
    desk = desk_of(everyone[0])
    for party in everyone:
        desk.take_mask(party.sign())
    masks = desk.masks() or []
    for party in everyone[:2]:
        desk.take_share(party.receive(masks) or b"")
    with pytest.raises(jr2.Incomplete) as caught:
        desk.publish()
    assert caught.value.missing == (3,)
    desk.take_share(everyone[2].receive(masks) or b"")
    assert len(desk.publish()) == 1


def played() -> tuple[list[Party], jr2.Ready, list[bytes]]:
    everyone = parties(2)
    play(everyone)
    return everyone, everyone[0].ready(), [party.state.rho for party in everyone]  # type: ignore[union-attr]


def sealed_as(case: jr2.Case, bundle: bytes) -> jr2.Case:
    """The same case, made for another bundle: what somebody could open who knows the rhos."""
    return replace(case, bundle_hash=hashlib.sha512(bundle).digest())


def test_a_bundle_of_another_round_or_with_other_points_than_its_case_is_refused() -> None:
    everyone, ready, rhos = played()
    _, other, _ = played()
    foreign = jr2.seal_bundle(jr2.Bundle(other.round, other.bodies), rhos)
    with pytest.raises((jr2.CaseMismatch, NotAuthentic)):
        jr2.open_bundle(sealed_as(ready.case, foreign), foreign, rhos)
    later = replace(ready.case, terms=replace(TERMS, not_before=TERMS.not_before + 1))
    with pytest.raises(jr2.CaseMismatch, match="another round"):
        jr2.open_bundle(later, ready.bundle, rhos)
    swapped = jr2.seal_bundle(jr2.Bundle(ready.round, ready.bodies[::-1]), rhos)
    with pytest.raises(jr2.CaseMismatch, match="other points"):
        jr2.open_bundle(sealed_as(ready.case, swapped), swapped, rhos)
    fewer = jr2.seal_bundle(jr2.Bundle(ready.round, ready.bodies[:1]), rhos)
    with pytest.raises(jr2.CaseMismatch, match="number of parties"):
        jr2.open_bundle(sealed_as(ready.case, fewer), fewer, rhos)
    assert jr2.open_bundle(ready.case, ready.bundle, rhos).presignatures == ready.bodies
    assert everyone[1].ready().bundle == ready.bundle


def test_a_bundle_that_was_not_sealed_as_every_client_seals_it_is_refused() -> None:
    """Under a nonce of somebody's choice the same content would have many forms, and one key stream many texts."""
    _, ready, rhos = played()
    key = hashlib.sha512(lp("jr2/bundle/v1", *rhos)).digest()[:32]
    aad = lp("jr2/bundle/v1", ready.round.sid)
    padded = crypto_aead_xchacha20poly1305_ietf_decrypt(ready.bundle[24:], aad, ready.bundle[:24], key)
    nonce = bytes(24)
    other = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(padded, aad, nonce, key)
    with pytest.raises(Malformed, match="as every client seals it"):
        jr2.open_bundle(sealed_as(ready.case, other), other, rhos)


def test_a_case_with_equal_values_is_refused() -> None:
    _, ready, _ = played()
    case = ready.case
    for wrong in (
        {"locks": (case.locks[0], case.locks[0])},
        {"masks": (case.masks[0], case.masks[0])},
        {"masks": (case.locks[0], case.masks[1])},
        {"rho_hashes": (case.rho_hashes[0],) * 2},
        {"masks": case.masks[:1]},
        {"masks": ((), ())},
        {"locks": ((bytes(32),), case.locks[1])},
        {"sid": bytes(63)},
    ):
        with pytest.raises(Malformed):
            replace(case, **wrong)


def test_two_parties_that_open_one_rho_are_refused() -> None:
    """Two who collude can commit to the same rho; the desk's list would show it, and the round ends before."""
    about = parties(3)[0].round
    rho = os.urandom(32)
    rows = [(jr2.wire.points_of(scalar())) for _ in range(3)]  # type: ignore[attr-defined]
    rhos = [os.urandom(32), rho, rho]
    pairs = list(zip(rows, rhos, strict=True))
    commitments = [commitment(about.sid, n, row, value) for n, (row, value) in enumerate(pairs, 1)]
    with pytest.raises(jr2.Copied) as caught:
        check_openings(about, commitments, [b"".join(row) + value for row, value in pairs], 1)
    assert (caught.value.party, caught.value.other) == (3, 2)
