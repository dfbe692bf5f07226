"""The desk: nothing until everything is there, then everything at once, and one answer for all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pourparler_crypto import jr2
from pourparler_crypto.jr2 import Case, Terms, check_mask, check_share
from pourparler_crypto.note import Audience, verify
from pourparler_policies import limits, wire
from pourparler_policies.wire import CaseAnswer, Problem, Route
from pourparler_service.caps import Caps
from pourparler_service.desktesting import (
    START,
    TERMS,
    Clock,
    Signing,
    communique,
    copies,
    keys,
    prepared,
    publish,
)
from pourparler_service.testing import body, problem, settings_of, threaded

pytestmark = pytest.mark.long_on_postgresql


@contextlib.contextmanager
def desk(data: Path, clock: Clock, **settings: object) -> Iterator[httpx.Client]:
    with (
        threaded(settings_of(data, clock=clock, **settings)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(data: Path, clock: Clock) -> Iterator[httpx.Client]:
    with desk(data, clock) as client:
        yield client


@pytest.fixture
def client(shared: httpx.Client, clock: Clock) -> httpx.Client:
    clock.now = START
    return shared


def listed(client: httpx.Client) -> list[wire.Posted]:
    return wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content).posted


def test_all_at_once_and_published_at_the_hour(client: httpx.Client, clock: Clock) -> None:
    signing = prepared()
    assert signing.open(client).status_code == 204
    signing.deposit(client, *signing.masks[:-1])
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.OPEN)
    signing.deposit(client, signing.masks[-1])
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.COMPLETE, masks=signing.masks)
    signing.deposit(client, *signing.shares)
    # Every share is there: still nobody is shown one, and the board has nothing.
    before = len(listed(client))
    clock.now = TERMS.not_before - 0.001
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.COMPLETE, masks=signing.masks)
    assert len(listed(client)) == before
    clock.now = TERMS.not_before
    told = signing.ask(client)
    assert (told.answer, told.masks, told.shares) == (CaseAnswer.PUBLISHED, signing.masks, signing.shares)
    assert told.board == [signing.texts[0].digest]
    newest = listed(client)[0]
    assert newest.digest == signing.texts[0].digest
    note = client.get(Route.BOARD_NOTE.replace("{digest}", newest.digest.hex())).content
    assert note == signing.finished()[0].encode()  # what any party computes by itself
    assert len(list(verify(note))) == 3
    # The answer is what the signers need to complete it, and it is the same from now on.
    assert [check_share(signing.case, one).party for one in told.shares or []] == [1, 2, 3]
    clock.now += 86_400
    assert signing.ask(client) == told


def test_it_publishes_by_itself_at_the_hour(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(2)
    signing.open(client)
    signing.deposit(client, *signing.masks)
    signing.deposit(client, *signing.shares)
    clock.now = TERMS.not_before
    with httpx.Client(base_url=client.base_url, timeout=30) as other:
        while signing.texts[0].digest not in [one.digest for one in listed(other)]:
            pass  # nobody asks for the case; the desk's own clock does it


def test_copies_are_completed_together(client: httpx.Client, clock: Clock) -> None:
    signers = keys(3)
    signing = Signing(signers, copies(signers))
    told = publish(client, clock, signing)
    assert told.board == [one.digest for one in signing.texts]
    assert [one.copy_number for one in reversed(listed(client)[:3])] == [1, 2, 3]


@pytest.mark.parametrize("audience", [Audience.PARTIES, Audience.CARD])
def test_what_is_not_for_the_board_never_gets_there(
    client: httpx.Client, clock: Clock, audience: Audience
) -> None:
    before = listed(client)
    signing = prepared(2, audience=audience)
    told = publish(client, clock, signing)
    assert told == wire.Case(answer=CaseAnswer.PUBLISHED, masks=signing.masks, shares=signing.shares, board=[])
    assert signing.finished()[0].communique == signing.texts[0]  # the signers complete it
    assert listed(client) == before


def test_a_text_that_names_another_time_is_not_posted(client: httpx.Client, clock: Clock) -> None:
    signers = keys(2)
    other = Terms(TERMS.sign_by, TERMS.deposit_by, TERMS.not_before + 60)
    told = publish(client, clock, Signing(signers, [communique(signers)], other))
    assert (told.answer, told.board) == (CaseAnswer.PUBLISHED, [])


# --- what is taken, and what is not --------------------------------------------------------------------------------


def test_repeating_is_harmless_at_every_step(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(2)
    for _ in range(2):
        signing.open(client).raise_for_status()
        signing.deposit(client, signing.masks[0])
    assert signing.ask(client).answer is CaseAnswer.OPEN
    for _ in range(2):
        signing.deposit(client, *signing.masks)
        signing.open(client).raise_for_status()
    for _ in range(2):
        signing.deposit(client, *signing.shares)
    clock.now = TERMS.not_before
    told = signing.ask(client)
    assert told.answer is CaseAnswer.PUBLISHED
    signing.deposit(client, *signing.masks, *signing.shares)  # late, and answered as ever
    signing.open(client).raise_for_status()
    assert signing.ask(client) == told


def test_a_share_that_comes_before_all_have_signed_is_not_kept(client: httpx.Client) -> None:
    """Else y and rho would lie at the desk while somebody may still withdraw."""
    signing = prepared(2)
    signing.open(client)
    signing.deposit(client, signing.shares[0])
    signing.deposit(client, *signing.masks)
    signing.deposit(client, signing.shares[1])
    # Both shares have come, one of them too early: the case is not full.
    assert signing.send(client, Route.CASE_STOP, signing.shares[0]).status_code == 204
    assert signing.ask(client).answer is CaseAnswer.STOPPED


def test_what_does_not_fit_is_refused_with_one_and_the_same_answer(client: httpx.Client) -> None:
    signing, other = prepared(3), prepared(3)
    signing.open(client)
    mask, share = signing.masks[0], signing.shares[0]
    forged = [
        mask[:-1] + bytes([mask[-1] ^ 1]),  # another scalar
        mask[:1] + b"\x02" + mask[2:],  # in another's name
        mask[:1] + b"\x1f" + mask[2:],  # of a party that there is not
        other.masks[0],  # of another case
        share[:-1] + bytes([share[-1] ^ 1]),  # another rho
        share[:18] + bytes(32) + share[50:],  # y = 0
        mask[:18] + b"\xff" * 32,  # no scalar
        b"\x03" + mask[1:],  # R3
        mask + b"\0",
        b"x",
    ]
    answers = [signing.send(client, Route.CASE_DEPOSIT, one) for one in forged]
    assert {(one.status_code, one.content) for one in answers} == {(answers[0].status_code, answers[0].content)}
    assert problem(answers[0]) == Problem.MALFORMED
    for route, one in (
        (Route.CASE_WITHDRAWAL, share),
        (Route.CASE_STOP, mask),
        (Route.CASE_WITHDRAWAL, forged[0]),
    ):
        assert problem(signing.send(client, route, one)) == Problem.MALFORMED
    signing.deposit(client, *signing.masks)
    assert signing.ask(client).answer is CaseAnswer.COMPLETE  # nothing was spoilt by it


def test_a_wrong_list_is_another_case(client: httpx.Client) -> None:
    """#28: whoever comes first fixes nothing for the others."""
    signing = prepared(2)
    real, bundle = signing.case, signing.opening.bundle
    squatted = Case(real.sid, real.locks, prepared(2).case.masks, real.rho_hashes, real.bundle_hash, real.terms)
    asked = wire.OpenCase(case=squatted.encode(), bundle=bundle)
    assert client.post(Route.DESK, content=body(asked), headers={"Content-Type": "application/json"}).is_success
    assert problem(client.get(signing.path(Route.CASE))) == Problem.NOT_FOUND
    signing.open(client).raise_for_status()
    signing.deposit(client, *signing.masks)
    assert signing.ask(client).answer is CaseAnswer.COMPLETE


def test_no_case_is_opened_with_another_bundle_or_past_its_time(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(2)
    opening = signing.opening
    json = {"Content-Type": "application/json"}
    for asked in (
        wire.OpenCase(case=opening.case, bundle=prepared(2).opening.bundle),
        wire.OpenCase(case=opening.case + b"\0", bundle=opening.bundle),
        wire.OpenCase(case=opening.case[:-4], bundle=opening.bundle),
        wire.OpenCase(case=b"no case", bundle=opening.bundle),
    ):
        assert problem(client.post(Route.DESK, content=body(asked), headers=json)) == Problem.MALFORMED
    far = prepared(2, Terms(START + 10, START + 20, START + 90 * limits.DAY + 1))
    assert problem(far.open(client)) == Problem.OVER_CAP
    clock.now = TERMS.sign_by
    assert problem(signing.open(client)) == Problem.MALFORMED
    assert problem(client.get(signing.path(Route.CASE))) == Problem.NOT_FOUND


def test_the_desk_takes_no_token_and_keeps_no_connection(client: httpx.Client) -> None:
    signing = prepared(2)
    token = {"Authorization": "Bearer " + "A" * 43, "Content-Type": "application/json"}
    told = client.post(Route.DESK, content=body(signing.opening), headers=token)
    assert problem(told) == Problem.MALFORMED
    signing.open(client)
    for answer in (
        told,
        signing.open(client),
        signing.send(client, Route.CASE_DEPOSIT, signing.masks[0]),
        signing.send(client, Route.CASE_DEPOSIT, b"x"),
        client.get(signing.path(Route.CASE)),
    ):
        assert answer.headers["connection"] == "close"
        assert answer.headers["cache-control"] == "no-store"


def test_openings_have_one_pace_and_one_quota_for_all(place: Path) -> None:
    clock = Clock()
    with desk(place, clock, caps=Caps(open_cases=3, case_burst=2, case_refill=60)) as client:
        signings = [prepared(2) for _ in range(4)]
        assert [signings[0].open(client).status_code, signings[1].open(client).status_code] == [204, 204]
        refused = signings[2].open(client)
        assert (problem(refused), refused.headers["retry-after"]) == (Problem.BUDGET, "60")
        assert signings[0].open(client).status_code == 204  # a repetition costs nothing
        clock.now -= 30  # a clock that is set back keeps nobody waiting until it has caught up
        assert problem(signings[2].open(client)) == Problem.BUDGET
        clock.now += 60
        assert signings[2].open(client).status_code == 204
        clock.now += 600
        assert problem(signings[3].open(client)) == Problem.OVER_CAP
        clock.now = TERMS.sign_by - 1
        assert signings[0].ask(client).answer is CaseAnswer.OPEN


def test_the_board_takes_only_the_operators_keys_where_there_is_a_list(place: Path) -> None:
    clock, signers = Clock(), keys(2)
    from pourparler_crypto.note import KeyBook

    known = communique(signers)
    book = KeyBook({one.key: one.name for one in known.foot.signatories})
    with desk(place, clock, press_keys=book) as client:
        stranger = publish(client, clock, prepared(2))
        assert (stranger.answer, stranger.board) == (CaseAnswer.PUBLISHED, [])
        clock.now = START
        assert publish(client, clock, Signing(signers, [known])).board == [known.digest]


def test_a_board_that_is_full_shows_every_share_and_posts_nothing(place: Path) -> None:
    clock = Clock()
    with desk(place, clock, caps=Caps(board_bytes=1024**2)) as client:
        for _ in range(5):
            clock.now = START
            signers = keys(2)
            words = "\n".join("x" * 15_000 for _ in range(16))
            told = publish(client, clock, Signing(signers, [communique(signers, (words,), ("en",))]))
            assert told.shares is not None
        assert told.board == []
        assert len(listed(client)) == 4


# --- deadlines, withdrawal, stop -----------------------------------------------------------------------------------


def test_at_the_sign_deadline_it_lapses_for_all_and_for_ever(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(3)
    signing.open(client)
    signing.deposit(client, *signing.masks[:2])
    clock.now = TERMS.sign_by
    signing.deposit(client, signing.masks[2])  # too late by nothing
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.LAPSED)
    clock.now = START  # a clock that goes back makes nothing undone
    signing.deposit(client, *signing.masks)
    signing.open(client).raise_for_status()
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.LAPSED)


def test_at_the_deposit_deadline_it_lapses_if_one_share_is_not_there(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(3)
    signing.open(client)
    signing.deposit(client, *signing.masks)
    signing.deposit(client, *signing.shares[1:])
    clock.now = TERMS.deposit_by
    signing.deposit(client, signing.shares[0])
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.LAPSED)
    clock.now = TERMS.not_before
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.LAPSED)


def test_a_withdrawal_ends_it_and_shows_as_nothing_until_the_deadline(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(3)
    signing.open(client)
    signing.deposit(client, *signing.masks[:2])
    assert signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[1]).status_code == 204
    signing.deposit(client, *signing.masks)
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.OPEN)
    clock.now = TERMS.sign_by
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.LAPSED)


def test_who_has_not_signed_withdraws_as_well(client: httpx.Client) -> None:
    signing = prepared(2)
    signing.open(client)
    signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[0])
    signing.deposit(client, *signing.masks)
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.OPEN)


def test_a_withdrawal_after_the_last_signature_comes_too_late(client: httpx.Client) -> None:
    signing = prepared(2)
    signing.open(client)
    signing.deposit(client, *signing.masks)
    assert signing.send(client, Route.CASE_WITHDRAWAL, signing.masks[0]).status_code == 204
    assert signing.ask(client).answer is CaseAnswer.COMPLETE


@pytest.mark.parametrize("full", [False, True])
def test_any_party_may_stop_it_until_the_charters_hour(client: httpx.Client, clock: Clock, full: bool) -> None:
    signing = prepared(2)
    signing.open(client)
    signing.send(client, Route.CASE_STOP, signing.shares[0])
    signing.deposit(client, *signing.masks)  # before all have signed there is nothing to stop
    assert signing.ask(client).answer is CaseAnswer.COMPLETE
    if full:
        signing.deposit(client, *signing.shares)
        clock.now = TERMS.not_before - 3601
    assert signing.send(client, Route.CASE_STOP, signing.shares[1]).status_code == 204
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.STOPPED)
    clock.now = TERMS.not_before
    assert signing.ask(client) == wire.Case(answer=CaseAnswer.STOPPED)


@pytest.mark.parametrize("terms", [TERMS, Terms(TERMS.sign_by, TERMS.deposit_by, TERMS.not_before)])
def test_a_stop_past_the_charters_hour_or_without_a_rule_does_nothing(
    client: httpx.Client, clock: Clock, terms: Terms
) -> None:
    signing = prepared(2, terms)
    signing.open(client)
    signing.deposit(client, *signing.masks)
    signing.deposit(client, *signing.shares)
    clock.now = TERMS.not_before - 3600
    assert signing.send(client, Route.CASE_STOP, signing.shares[0]).status_code == 204
    clock.now = TERMS.not_before
    assert signing.ask(client).answer is CaseAnswer.PUBLISHED


def test_an_answer_is_forgotten_when_nobody_can_need_it(place: Path) -> None:
    clock = Clock()
    with desk(place, clock) as client:
        signing = prepared(2)
        publish(client, clock, signing)
        clock.now = TERMS.not_before + limits.ANSWER_LIFE - 1
        assert signing.ask(client).answer is CaseAnswer.PUBLISHED
        clock.now = TERMS.not_before + limits.ANSWER_LIFE + limits.DAY
        while client.get(signing.path(Route.CASE)).status_code != 404:
            pass
        assert len(listed(client)) == 1  # the board forgets nothing
    with desk(place, clock) as client:
        assert client.get(signing.path(Route.CASE)).status_code == 404


def test_the_sizes_of_the_wire_are_those_of_the_protocol() -> None:
    assert limits.MAX_CASE == jr2.MAX_CASE
    assert limits.BUNDLES == jr2.BUNDLE_SIZES
    assert max(jr2.size(kind, jr2.MAX_TEXTS) for kind in (jr2.Kind.MASK, jr2.Kind.SHARE)) == limits.MAX_DEPOSIT
    assert (limits.MAX_SIGNERS, limits.MAX_NOTES) == (jr2.MAX_PARTIES, jr2.MAX_TEXTS)
    assert limits.HASH_BYTES == jr2.HANDLE_LENGTH
    most = wire.OpenCase(case=bytes(limits.MAX_CASE), bundle=bytes(limits.BUNDLES[-1]))
    assert len(body(most)) <= limits.MAX_REQUEST_BODY


def test_masks_are_shown_in_the_order_of_the_parties_not_of_their_coming(client: httpx.Client) -> None:
    signing = prepared(3)
    signing.open(client)
    signing.deposit(client, *reversed(signing.masks))
    assert [check_mask(signing.case, one).party for one in signing.ask(client).masks or []] == [1, 2, 3]
