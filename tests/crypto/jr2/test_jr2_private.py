"""Rounds whose texts are not for the board: the desk opens all at once, and can never read them."""

import pytest

from pourparler_crypto import jr2
from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.jr2 import Round, check_mask, check_share, complete
from pourparler_crypto.jr2.case import BUNDLE_SIZES, open_bundle
from pourparler_crypto.jr2.testing import TERMS, TEXT, Party, play
from pourparler_crypto.releasekey import ReleaseKey


def everyone(*, private: bool, texts: tuple[bytes, ...] = (TEXT,)) -> list[Party]:
    keys = [ReleaseKey.generate() for _ in range(3)]
    about = Round(bytes(32), texts, tuple(key.public for key in keys), TERMS, private=private)
    return [Party(about, key) for key in keys]


@pytest.mark.parametrize("size", [10, 3000, 40_000])
def test_with_every_d_y_and_rho_the_desk_opens_nothing_and_the_parties_complete(size: int) -> None:
    text = b"x" * size + b"\n"
    parties = everyone(private=True, texts=(text,))
    play(parties)
    state = parties[0].ready()
    case, bundle = state.case, state.bundle
    assert len({party.ready().bundle for party in parties}) == 1
    opened = [party.sign() for party in parties]
    shares = [party.receive(opened) or b"" for party in parties]
    masks, given = [check_mask(case, m) for m in opened], [check_share(case, s) for s in shares]
    rhos = [share.rho for share in given]
    with pytest.raises(NotAuthentic):
        open_bundle(case, bundle, rhos)
    with pytest.raises(NotAuthentic):
        complete(case, bundle, masks, given)
    assert len({party.finish(shares) for party in parties}) == 1
    others = everyone(private=False, texts=(text,))
    play(others)
    assert len(others[0].ready().bundle) == len(bundle) in BUNDLE_SIZES
    assert len(others[0].ready().case.encode()) == len(case.encode())


def test_nothing_is_in_it_even_for_who_has_the_key() -> None:
    """Whoever learns R of all, from a note that was passed on, opens zeros."""
    parties = everyone(private=True)
    play(parties)
    state = parties[0].ready()
    import hashlib

    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as opened

    from pourparler_crypto.encoding import lp

    rhos = [state.rhos[i : i + 32] for i in range(0, 96, 32)]
    key = hashlib.sha512(lp("jr2/bundle/private/v1", *rhos, *state.bodies)).digest()
    aad = lp("jr2/bundle/v1", state.round.sid)
    inside = opened(state.bundle[24:], aad, state.bundle[:24], key[:32])
    assert not any(inside)


def test_who_was_told_another_audience_has_another_sid() -> None:
    keys = [ReleaseKey.generate() for _ in range(2)]
    made = [Round(bytes(32), (TEXT,), tuple(k.public for k in keys), TERMS, private=p) for p in (True, False)]
    parties = [Party(about, key) for about, key in zip(made, keys, strict=True)]
    first = [party.begin() for party in parties]
    with pytest.raises(jr2.WrongRound):
        parties[0].receive(first)
    assert Round.decode(made[0].encode()) == made[0]
    assert Round.decode(made[1].encode()) == made[1]
