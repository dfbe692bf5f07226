"""What an invited person sees before accepting: every rule, and no person whom the charter withholds."""

from dataclasses import replace

import pytest

from pourparler_policies.charter import decode, parse
from pourparler_policies.charter.document import Charter
from pourparler_policies.charter.schema import NAMES
from pourparler_policies.charter.testing import text
from pourparler_policies.charter.withholding import AFTER, shown_before_acceptance


def charter(names: str = AFTER) -> Charter:
    made = parse(text())
    return replace(made, admission=replace(made.admission, names=names))


def people(made: Charter) -> set[str | bytes]:
    bodies = [*made.parties.values(), *made.intermediaries.values()]
    return {part for body in bodies for card in body.cards for part in (card.name, card.fingerprint)}


def test_a_charter_that_withholds_names_shows_none_and_no_card() -> None:
    whole = charter()
    shown = shown_before_acceptance(whole)
    assert people(whole)
    assert not people(whole) & people(shown)
    encoded = shown.encode()
    for part in people(whole):
        trace = part.hex() if isinstance(part, bytes) else f'"{part}"'
        assert trace.encode() in whole.encode()  # the search works
        assert trace.encode() not in encoded


@pytest.mark.parametrize("names", [name for name in NAMES.meanings if name != AFTER])
def test_a_charter_that_does_not_withhold_names_is_shown_whole(names: str) -> None:
    assert shown_before_acceptance(charter(names)) == charter(names)


def test_every_rule_is_shown_and_how_many_people_of_which_role_each_body_names() -> None:
    whole, shown = charter(), shown_before_acceptance(charter())
    assert replace(shown, parties=whole.parties, intermediaries=whole.intermediaries) == whole
    pairs = [(whole.parties, shown.parties), (whole.intermediaries, shown.intermediaries)]
    for bodies, withheld in pairs:
        assert bodies.keys() == withheld.keys()
        for key, body in bodies.items():
            assert replace(withheld[key], cards=body.cards) == body  # type: ignore[type-var]
            assert sorted(card.role for card in withheld[key].cards) == sorted(card.role for card in body.cards)


def test_what_is_shown_is_a_charter_that_can_be_read_and_has_another_hash() -> None:
    shown = shown_before_acceptance(charter())
    assert decode(shown.encode()) == shown
    assert shown.hash != charter().hash


def test_which_person_has_which_place_is_not_told_by_the_order() -> None:
    whole = charter()
    for seed in range(1, 6):
        parties = {
            key: replace(
                party,
                cards=tuple(
                    sorted(
                        replace(card, fingerprint=bytes([(seed * 7 * number) % 251]) * 32, name=f"x{seed}{number}")
                        for number, card in enumerate(party.cards, 1)
                    )
                ),
            )
            for key, party in whole.parties.items()
        }
        assert shown_before_acceptance(replace(whole, parties=parties)) == shown_before_acceptance(whole)


def test_withholding_twice_is_withholding_once() -> None:
    shown = shown_before_acceptance(charter())
    assert shown_before_acceptance(shown) == shown
