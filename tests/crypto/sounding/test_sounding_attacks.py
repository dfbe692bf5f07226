"""Attacks on soundings: each shown to work where the design says so, and to fail where it says that."""

import os

import pytest

from pourparler_crypto.card import CardKey
from pourparler_crypto.errors import Malformed, ProtocolError, UsageError
from pourparler_crypto.jr2.group import ED25519, reduced
from pourparler_crypto.sounding import (
    About,
    Answer,
    BadDeal,
    Begun,
    Counted,
    Form,
    NotTheSum,
    Share,
    Tally,
    Unregistered,
    answered,
    common,
    dealt,
)
from pourparler_crypto.sounding.tally import pieces, token_hash, xor, xor_target
from pourparler_crypto.sounding.testing import AGREED, CLOSES, OPENS, Table

SMALL_ORDER = (b"\x01" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f")


def scalar() -> bytes:
    return reduced(os.urandom(64))


@pytest.mark.parametrize("parties", [2, 3, 8])
def test_all_accept_only_if_all_do(parties: int) -> None:
    table = Table(parties)
    assert table.result(table.says(*[True] * parties)) == 0
    for odd in (False, None):
        for place in range(parties):
            words: list[bool | tuple[bool, ...] | None] = [True] * parties
            words[place] = odd
            assert table.result(table.says(*words)) is None
    assert table.result([answer.ready for answer in table.answers]) is None  # nobody said anything


def test_what_was_never_answered_is_a_refusal_and_an_acceptance_can_be_taken_back_but_not_given_twice() -> None:
    table = Table(2)
    yes = answered(table.tally, table.answers[0], [True])
    other = answered(table.tally, table.answers[1], [True]).ready
    assert table.result([yes.ready, other]) == 0
    with pytest.raises(UsageError):
        answered(table.tally, yes, [True])
    back = answered(table.tally, yes, [False])
    assert table.result([back.ready, other]) is None
    with pytest.raises(UsageError):
        answered(table.tally, back, [True])
    with pytest.raises(UsageError):
        answered(table.tally, table.answers[0], [True, True])


# Rogue keys


def test_a_party_that_chooses_its_point_last_would_know_the_sum_and_feign_that_all_accept() -> None:
    """Without commitments: A_2 = t·G - A_1. Nobody needs a_1 then."""
    table, t = Table(2), scalar()
    point = table.openings[0][:32]
    rogue = ED25519.minus(ED25519.base(t), point)
    naive = Tally(Form.SUM, table.tally.slots, (ED25519.plus(point, rogue),), OPENS, CLOSES, AGREED)
    assert naive.common(Counted(0, t)) == 0


def test_with_commitments_the_rogue_key_opens_nothing_and_its_party_is_named() -> None:
    table, t = Table(2), scalar()
    rogue = ED25519.minus(ED25519.base(t), table.openings[0][:32])
    table.openings[1] = rogue + table.openings[1][32:]
    with pytest.raises(Unregistered) as caught:
        table.register()
    assert caught.value.party == 2


def test_copied_commitments_points_exchange_keys_and_slots_are_refused() -> None:
    table = Table(3)
    with pytest.raises(Unregistered) as caught:
        common.check_commitments([table.commitments[0], table.commitments[1], table.commitments[0]])
    assert caught.value.party == 3
    for start, end in ((0, 32), (32, 64), (64, 96)):
        fresh = Table(3)
        copied = fresh.openings[2][:start] + fresh.openings[0][start:end] + fresh.openings[2][end:]
        fresh.openings[2] = copied
        fresh.commitments[2] = common._commitment(fresh.about, 3, copied)
        with pytest.raises(Unregistered) as caught:
            fresh.register()
        assert caught.value.party == 3


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_and_exchange_keys_of_small_order_are_refused_with_their_party(point: bytes) -> None:
    table = Table(2)
    bad = point + table.openings[1][32:]
    table.openings[1], table.commitments[1] = bad, common._commitment(table.about, 2, bad)
    with pytest.raises(Unregistered) as caught:
        table.register()
    assert caught.value.party == 2


def test_an_exchange_key_of_small_order_is_refused() -> None:
    table = Table(2)
    bad = table.openings[1][:32] + bytes(32) + table.openings[1][64:]
    table.openings[1], table.commitments[1] = bad, common._commitment(table.about, 2, bad)
    tally = table.register()
    with pytest.raises(Unregistered) as caught:
        common.prepare(table.about, table.begun[0], tally, table.openings)
    assert caught.value.party == 2


def test_an_opening_of_another_sounding_or_in_anothers_name_or_size_is_refused() -> None:
    table = Table(2)
    other = About(b"b" * 32, 2, 1)
    with pytest.raises(Unregistered):
        common.registered(other, table.commitments, table.openings, OPENS, CLOSES)
    with pytest.raises(Unregistered):
        common.registered(table.about, table.commitments[::-1], table.openings, OPENS, CLOSES)
    table.openings[0] += b"0"
    with pytest.raises(Unregistered):
        table.register()


# What is held, and by whom


def test_points_would_show_the_service_who_declined_and_masks_hide_it_even_with_the_points() -> None:
    table = Table(3)
    rows = table.says(True, False, True)
    points = [opening[:32] for opening in table.openings]
    assert [ED25519.base(row) == point for row, point in zip(rows, points, strict=True)] == [False] * 3
    naive = [
        begun.secrets if word else scalar() for begun, word in zip(table.begun, (True, False, True), strict=True)
    ]
    assert [ED25519.base(row) == point for row, point in zip(naive, points, strict=True)] == [True, False, True]
    assert not any(point in table.tally.encode() for point in points)


def test_all_others_together_with_the_service_can_read_one_answer_as_the_screen_says() -> None:
    table = Table(3)
    for word in (True, False):
        rows = table.says(word, False, False)
        # Parties 2 and 3 know m_12 and m_13: what they would have handed in, less their a.
        others = [ED25519.sub(pieces(table.answers[n].yes)[0], table.begun[n].secrets) for n in (1, 2)]
        unmasked = ED25519.add(rows[0], ED25519.add(*others))
        assert (ED25519.base(unmasked) == table.openings[0][:32]) is word


def test_the_service_with_one_side_learns_whether_all_others_accept_as_the_screen_says() -> None:
    table = Table(2)
    for word in (True, False):
        rows = table.says(False, word)  # the first declines for all to see ...
        rows[0] = table.answers[0].yes  # ... and tells the service what it would have handed in
        assert (table.result(rows) == 0) is word


def test_what_a_device_keeps_has_one_size_and_holds_neither_secret_nor_point_whatever_was_answered() -> None:
    table = Table(2, 3)
    kept = [table.answers[0]] + [
        answered(table.tally, table.answers[0], words)
        for words in ((True, True, True), (False, False, False), (True, False, True))
    ]
    assert len({len(one.encode()) for one in kept}) == 1
    for one in kept:
        assert Answer.decode(one.encode()) == one
        for secret in pieces(table.begun[0].secrets):
            assert secret not in one.encode()
    assert all(answered(table.tally, table.answers[0], [True] * 3).yes != table.answers[0].yes for _ in range(3))


def test_what_is_kept_until_the_registration_comes_back_from_its_bytes_and_nothing_else_does() -> None:
    table = Table(2, 2)
    assert Begun.decode(table.begun[0].encode()) == table.begun[0]
    for data in (table.begun[0].encode()[:-1], b"", table.begun[0].encode() + b"0"):
        with pytest.raises(Malformed):
            Begun.decode(data)
    with pytest.raises(Malformed):
        Answer.decode(table.answers[0].encode()[:-1] + b"\x02")


# A service that lies


def test_a_wrong_sum_says_not_all_accept_and_a_form_that_no_sum_has_is_the_services_fault() -> None:
    table = Table(2)
    assert table.tally.common(Counted(0, scalar())) is None
    assert table.tally.common(Counted(0, bytes(32))) is None
    for answer in (Counted(1, scalar()), Counted(-1, scalar()), Counted(0, b"\xff" * 32), Counted(0, b"")):
        with pytest.raises(NotTheSum):
            table.tally.common(answer)


def test_of_several_packages_one_common_one_at_most_is_shown_and_which_is_drawn_anew() -> None:
    table = Table(2, 3)
    rows = table.says((True, False, True), (True, True, True))
    shown = {table.result(rows) for _ in range(80)}
    assert shown == {0, 2}  # a chance of 2**-79 that one of them never came
    assert table.result(table.says((True, False, False), (False, True, True))) is None
    assert {table.tally.counted(table.says(False, False)).package for _ in range(80)} == {0, 1, 2}


def test_the_service_takes_only_scalars_and_whole_submissions_and_only_for_a_slot_of_the_tally() -> None:
    table = Table(2)
    for values in (b"", b"\xff" * 32, scalar() * 2, scalar()[:-1]):
        with pytest.raises(Malformed):
            table.tally.check_values(values)
    for token in (os.urandom(32), b"", table.tally.slots[0]):
        with pytest.raises(Malformed):
            table.tally.slot_of(token)
    assert [table.tally.slot_of(one.token) for one in table.answers] == [0, 1]


def test_a_tally_has_one_encoding_and_another_list_target_or_time_is_another_tally() -> None:
    tally = Table(3, 2).tally
    assert Tally.decode(tally.encode()) == tally
    changes: list[dict[str, object]] = [
        {"slots": tally.slots[::-1]},
        {"targets": tally.targets[::-1]},
        {"opens": OPENS + 1},
        {"closes": CLOSES + 1},
        {"agreed": b"b" * 32},
    ]
    fields = {name: getattr(tally, name) for name in ("form", "slots", "targets", "opens", "closes", "agreed")}
    handles = {Tally(**{**fields, **change}).handle for change in changes}
    assert len(handles | {tally.handle}) == len(changes) + 1
    for data in (
        b"",
        tally.encode()[:-1],
        tally.encode() + b"0",
        b"0" * 5000,
        tally.encode().replace(b"sum", b"mus"),
    ):
        with pytest.raises(ProtocolError):
            Tally.decode(data)
    for change in (
        {"slots": tally.slots[:1]},
        {"slots": (tally.slots[0],) * 2},
        {"targets": ()},
        {"targets": (tally.targets[0],) * 2},
        {"closes": OPENS},
        {"targets": (SMALL_ORDER[0],)},
    ):
        with pytest.raises(Malformed):
            Tally(**{**fields, **change})


# A dealer


def deal(parties: int = 3, packages: int = 1) -> tuple[Tally, tuple[Share, ...]]:
    return dealt.deal(parties, packages, OPENS, CLOSES, AGREED)


def answers(tally: Tally, shares: tuple[Share, ...], *words: bool) -> list[bytes]:
    return [
        answered(tally, dealt.prepare(tally, share), [word] * len(tally.targets)).ready
        for share, word in zip(shares, words, strict=True)
    ]


@pytest.mark.parametrize("parties", [2, 3, 8])
def test_dealt_all_accept_only_if_all_do(parties: int) -> None:
    tally, shares = deal(parties)
    assert tally.common(tally.counted(answers(tally, shares, *[True] * parties))) == 0
    for place in range(parties):
        words = [n != place for n in range(parties)]
        assert tally.common(tally.counted(answers(tally, shares, *words))) is None


def test_a_share_is_read_by_its_card_alone_and_only_with_its_tally() -> None:
    tally, shares = deal()
    own, other = CardKey.generate(), CardKey.generate()
    sealed = shares[0].seal_to(own.card("Ada"), tally)
    assert dealt.receive(own, sealed, tally, 3) == shares[0]
    with pytest.raises(BadDeal):
        dealt.receive(other, sealed, tally, 3)
    with pytest.raises(BadDeal):
        dealt.receive(own, sealed, deal()[0], 3)


def test_a_dealer_who_misstates_the_sides_or_hands_out_another_deals_share_is_caught() -> None:
    tally, shares = deal()
    dealt.check_deal(tally, shares[0], 3)
    with pytest.raises(BadDeal):
        dealt.check_deal(tally, shares[0], 2)
    with pytest.raises(BadDeal):
        dealt.check_deal(tally, deal()[1][0], 3)
    with pytest.raises(BadDeal):
        dealt.check_deal(tally, Share(shares[0].token, shares[0].values * 2), 3)
    with pytest.raises(BadDeal):
        dealt.check_deal(Table(3).tally, shares[0], 3)


def test_a_dealer_who_deals_the_same_secret_again_is_caught_by_who_saw_the_first() -> None:
    tally, shares = deal(2)
    # The secret, known to all from the first result, dealt in other shares:
    secret = xor(shares[0].values, shares[1].values)
    first = Share(os.urandom(32), os.urandom(32))
    second = Share(os.urandom(32), xor(first.values, secret))
    again = Tally(
        Form.XOR,
        (token_hash(first.token), token_hash(second.token)),
        (xor_target(secret),),
        OPENS,
        CLOSES,
        b"b" * 32,
    )
    assert again.common(Counted(0, secret)) == 0  # a side and the service can feign it without anybody's consent
    with pytest.raises(BadDeal):
        dealt.check_deal(again, first, 2, tally.targets)
    dealt.check_deal(again, first, 2)  # who has not seen the first cannot know


def test_a_dealer_can_fail_it_feign_it_and_read_it_and_no_receiver_can_tell_as_the_screen_says() -> None:
    tally, shares = deal(2)
    wrong = Share(shares[1].token, os.urandom(32))
    dealt.check_deal(tally, wrong, 2)  # passes
    assert tally.common(tally.counted(answers(tally, (shares[0], wrong), True, True))) is None
    secret = xor(shares[0].values, shares[1].values)
    assert tally.common(Counted(0, secret)) == 0  # feigned, with a service that shows what it is told to
    for word in (True, False):  # it has dealt all other places to itself
        only = answers(tally, (shares[0],), word)[0]
        assert (tally.common(tally.counted([only, shares[1].values])) == 0) is word


def test_a_dealt_tally_is_about_the_texts_and_times_that_were_shown_and_needs_the_salt() -> None:
    salt = os.urandom(32)
    about = dealt.agreed(salt, [b"one", b"two"], OPENS, CLOSES)
    others = [
        dealt.agreed(salt, [b"onetwo"], OPENS, CLOSES),
        dealt.agreed(salt, [b"two", b"one"], OPENS, CLOSES),
        dealt.agreed(salt, [b"one", b"two"], OPENS, CLOSES + 1),
        dealt.agreed(os.urandom(32), [b"one", b"two"], OPENS, CLOSES),
    ]
    assert about not in others
    assert len({*others}) == len(others)


def test_too_few_or_too_many_sides_or_packages_are_the_callers_mistake() -> None:
    for parties, packages in ((1, 1), (33, 1), (2, 0), (2, 9)):
        with pytest.raises(UsageError):
            deal(parties, packages)
        with pytest.raises(UsageError):
            About(AGREED, parties, packages)
    with pytest.raises(UsageError):
        common.begin(About(AGREED, 2, 1), 3)
    with pytest.raises(UsageError):
        common.begin(About(AGREED, 2, 1), 1, random=lambda count: b"0")
