"""A member who would silence others: by copies, by broken or unreadable entries, by lies about the procedure.

Each of these once halted or alarmed honest devices for good.
"""

import os
from dataclasses import replace

import pytest

from pourparler_clients.forging import Hostile, go_on, settle
from pourparler_clients.store import State
from pourparler_clients.testing import House, rewrite_pages
from pourparler_crypto.mls.proposals import REMOVE, Proposal
from pourparler_policies.charter import Charter
from pourparler_policies.fold.events import Approved, Attested, Objected, Proposed
from pourparler_policies.fold.facts import Amend, Close, Recess
from pourparler_policies.limits import DAY


async def test_what_a_member_signed_and_another_seals_anew_halts_nobody_and_counts_once(house: House) -> None:
    """Every member can derive another's next key. The copy verifies, and once halted its author as an old copy."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    await ada.say("Only once.")
    copy = await hostile.take(await hostile.newest())
    for _ in range(2):
        await hostile.replay(copy)
    told = await settle(ada, ben)
    assert [kinds.count("said") for kinds in told] == [1, 1]
    await ben.log.vault.connection.execute("DELETE FROM message") if False else None
    await go_on(ada, ben, mal)
    assert ben.texts().count("Only once.") == 1


async def test_a_copy_of_a_message_does_not_bring_it_back_once_it_has_ended(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    await ada.say("For a minute.", life=60)
    copy = await hostile.take(await hostile.newest())
    await ben.sync()
    ben.clock.offset = 61
    ben.device.purge()
    await hostile.replay(copy)
    assert await ben.sync() == []
    assert ben.texts() == []
    await go_on(ada, ben, mal)


async def test_a_commit_that_is_void_halts_nobody_whose_path_it_breaks_besides(house: House) -> None:
    mal, ben, ada = await house.room("mal", "ben", "ada")
    hostile, epoch = Hostile(mal), ada.log.group.epoch
    await hostile.break_path(ben, explained=os.urandom(64))
    assert await settle(ada, ben) == [[], []]
    assert ada.log.group.epoch == epoch
    await go_on(ada, ben, mal)


async def test_nobody_who_missed_a_proposal_is_left_behind_by_a_commit_that_refers_to_it(house: House) -> None:
    """A proposal by itself may end before somebody who is away reads it. By value the same removal is valid."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    cleo = await house.person("cleo")
    await house.put_on_the_table(ada, cleo)
    await house.bring_in(ada, cleo)
    hostile = Hostile(mal)
    await hostile.catch_up()
    removal = Proposal(REMOVE, hostile.leaf_of(cleo.log.row.credential))
    ended = ada.log.row.cursor + 1
    reference = await hostile.propose_alone(removal)
    ben.line.rewrite = rewrite_pages(lambda entries: [one for one in entries if one["seq"] != ended])
    epoch = ada.log.group.epoch
    await hostile.commit(proposals=[reference])
    for person in (ada, ben):
        await Hostile(person).catch_up()
        assert (person.state, person.log.group.epoch) == (State.OPEN, epoch)
    await hostile.commit(remove=[cleo.log.row.credential])
    for person in (ada, ben):
        await Hostile(person).catch_up()
        assert person.log.group.epoch == epoch + 1
    await go_on(ada, ben, mal)


@pytest.mark.parametrize("what", ["unknown event", "wrong stamp", "void commit"])
async def test_who_is_not_attested_stops_nobody(what: str, house: House) -> None:
    ada, ben, mal = [await house.person(name) for name in ("ada", "ben", "mal")]
    await house.found(ada, ben, mal)
    await house.seat(ada, ben)
    await house.put_on_the_table(ada, mal)
    await house.bring_in(ada, mal)
    hostile = Hostile(mal)
    if what == "unknown event":
        key = mal.log.group.next_generation()
        chain = b'"' + b"A" * 43 + b'="'
        await hostile.raw(b'{"v":2,"seq":0,"key":%d,"chain":%s,"events":[{"type":"new"}]}' % (key, chain))
    elif what == "wrong stamp":
        await hostile.act(Attested(ada.log.row.credential), stamp=(mal.log.chain.seq, os.urandom(32)))
    else:
        await hostile.break_path(ada, ben)
    await Hostile(ada).catch_up()
    kinds = [happening.kind for happening in await ada.sync()]
    assert ada.state is State.OPEN
    assert ("warned" in kinds) == (what == "wrong stamp")
    await house.attest(ada)
    await go_on(ada, ben, mal)


async def test_an_attested_member_with_a_wrong_stamp_alarms_and_is_named(house: House) -> None:
    """The control of the test above: who is attested may be the one that saw a fork first."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    await Hostile(mal).say("Look.", stamp=(mal.log.chain.seq, os.urandom(32)))
    for person in (ada, ben):
        (alarm,) = [happening for happening in await person.sync() if happening.kind == "alarm"]
        assert alarm.text.endswith("what mal sent")


async def test_junk_far_beyond_the_keys_of_an_epoch_is_void_in_whosever_name_it_comes(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    await Hostile(mal).far_ahead(ada)
    assert await settle(ada, ben) == [[], []]
    await go_on(ada, ben, mal)


async def test_a_member_who_was_away_while_junk_ended_holds_the_same_procedure(house: House) -> None:
    """A handshake once could have a life of a second: who missed it alarmed for ever after."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    entry = await Hostile(mal).post(os.urandom(1024), handshake=True, life=1)
    page = await ben.channel._api.entries(ben.channel.id, ben.log.row.cursor)
    (junk,) = page.entries
    assert junk.entry == entry
    assert junk.expires_at - junk.received_at >= ben.log.charter.retention.procedure
    await go_on(ada, ben, mal)


async def test_an_event_with_a_counter_that_does_not_rise_is_void_and_a_void_one_uses_it_up(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    digest = await ada.channel.propose(Close(), confirm=None)
    await hostile.act(Objected(digest), counter=40)
    await hostile.act(Approved(digest), counter=40)
    await hostile.act(Approved(os.urandom(32)), counter=41)  # void: nothing of that name is on the table
    await hostile.act(Approved(digest), counter=41)
    await settle(ada, ben)
    held = ada.log.consent.open[digest]
    assert (len(held.objections), held.approvals) == (1, {})
    await go_on(ada, ben, mal)


async def test_a_flag_that_contradicts_the_content_makes_an_entry_void(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    await hostile.act(Proposed(Recess(mal.clock() + 9 * DAY)), handshake=False)
    await hostile.say("As a handshake.", handshake=True)
    await settle(ada, ben)
    assert ada.log.consent.open == {}
    assert ben.texts() == []
    await go_on(ada, ben, mal)


async def test_one_side_buries_nobody_under_paper(house: House) -> None:
    """Each side has room for one charter as large as charters may be. Without that limit eight of them made a state
    that no device could read again from its vault.
    """
    ada, ben, mal = await house.room("ada", "ben", "mal")
    hostile = Hostile(mal)
    for number in range(6):
        await hostile.act(Proposed(Amend(_large(mal.log.charter, number).encode())))
    await settle(ada, ben)
    assert len(ada.log.consent.open) == 1
    ada = await house.again(ada)
    await go_on(ada, ben, mal)


def _large(charter: Charter, number: int) -> Charter:
    languages = tuple(f"x{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"[:25])
    lines = dict.fromkeys(languages, f"{number} " + "y" * 1990)
    return replace(charter, languages=languages, agreed_line=lines)
