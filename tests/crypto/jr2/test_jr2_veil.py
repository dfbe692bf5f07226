"""States without their texts: what a party owes, or takes back, goes on; nothing else does, and no text is in them."""

from dataclasses import replace

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.errors import UsageError
from pourparler_crypto.jr2 import Deposited, Opened, Presigned, Ready, Signed, State, unveil, veil
from pourparler_crypto.jr2.testing import TEXT, Party, parties


def veiled(party: Party) -> State:
    data = veil(party.state)
    assert TEXT[:12] not in data
    return unveil(data)


def rounds(everyone: list[Party]) -> list[list[bytes]]:
    """R1 to R3 of all."""
    first = [party.begin() for party in everyone]
    second = [message for party in everyone if (message := party.receive(first)) is not None]
    third = [message for party in everyone if (message := party.receive(second)) is not None]
    return [first, second, third]


def test_without_its_text_a_party_sends_the_same_bytes_signs_deposits_and_withdraws() -> None:
    everyone = parties(3)
    for party in everyone:
        party.begin()
    assert [veiled(party).message for party in everyone] == [party.sent[0] for party in everyone]  # type: ignore[union-attr]
    everyone = parties(3)
    _, _, third = rounds(everyone)
    for party in everyone:
        party.receive(third)
    masks = []
    for party in everyone:
        ready = veiled(party)
        assert isinstance(ready, Ready)
        assert ready.case == party.ready().case
        signed = jr2.sign(ready)
        masks.append(signed.message)
        assert signed.case.handle == party.ready().case.handle
        party.vault = veil(signed)
    shares = []
    for party in everyone:
        signed_again = unveil(party.vault)
        assert isinstance(signed_again, Signed)
        deposited = jr2.deposit(signed_again, masks)
        shares.append(deposited.message)
        party.vault = veil(deposited)
    done = unveil(everyone[0].vault)
    assert isinstance(done, Deposited)
    with pytest.raises(UsageError, match="not at hand"):  # only the note itself needs the words
        jr2.finish(done, shares)
    whole = unveil(everyone[0].vault, (TEXT,))
    assert isinstance(whole, Deposited)
    assert len(jr2.finish(whole, shares)) == 1


def test_nobody_presigns_checks_or_seals_a_bundle_for_words_that_are_not_there() -> None:
    everyone = parties(2)
    first = [party.begin() for party in everyone]
    second = [message for party in everyone if (message := party.receive(first)) is not None]
    opened = veiled(everyone[0])
    assert isinstance(opened, Opened)
    with pytest.raises(UsageError, match="not at hand"):
        jr2.presign(opened, second, everyone[0].key)
    third = [message for party in everyone if (message := party.receive(second)) is not None]
    presigned = veiled(everyone[0])
    assert isinstance(presigned, Presigned)
    with pytest.raises(UsageError, match="not at hand"):
        jr2.check(presigned, third)
    everyone[0].receive(third)
    ready = veiled(everyone[0])
    assert isinstance(ready, Ready)
    with pytest.raises(UsageError, match="not at hand"):
        _ = ready.bundle


def test_other_words_and_other_bytes_are_refused() -> None:
    (party, _) = parties(2)
    party.begin()
    data = veil(party.state)
    assert unveil(data, (TEXT,)).encode() == party.vault
    for texts in ((TEXT + b"x",), (TEXT, b"another")):
        with pytest.raises(UsageError):
            unveil(data, texts)
    for wrong in (
        b"",
        data[:-1],
        data + b"x",
        party.vault,
        bytes(2 * 1024 * 1024),
        data.replace(b"veiled", b"mailed"),
    ):
        with pytest.raises(UsageError):
            unveil(wrong)
    assert replace(party.round, nonce=bytes(32)).sid != party.round.sid
