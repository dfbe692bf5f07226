"""Rounds of ideas from the call to the draft, on real devices at a real service: what everybody is shown, and what the
service, the members and both together, with every moment, can see of whose idea it was.

Ada has three ideas, Ben has one, Cleo has none; Dan takes no part. One round is recorded, each test looks at it.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from pourparler_clients import rounds
from pourparler_clients.errors import UserError
from pourparler_clients.examine import examining, found, open_texts, pieces, stored_texts, traces, vault_pages
from pourparler_clients.ideas import Listed, draft_text
from pourparler_clients.ideas_testing import Circle, Seen
from pourparler_clients.papers import compose
from pourparler_clients.testing import PASSPHRASE
from pourparler_crypto.note import PressKey, ReleaseKey
from pourparler_policies.ideas.facts import Round
from pourparler_policies.limits import HOUR

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADA = ("Open the road on market days.", "Let each side name a warden for the wells.", "Return the school.")
BEN = ("Share the upper wells by the week.",)
NAMES = ("ada", "ben", "cleo")


@dataclass
class Record:
    """A round of ideas and a round of marks on it, as everybody saw them."""

    circle: Circle
    held: Round
    seen: list[Seen]
    dues: dict[str, list[int]] = field(default_factory=dict)
    own_sealed: dict[str, list[bytes]] = field(default_factory=dict)  # own ideas, as the vault had stored them
    packets: dict[str, list[bytes]] = field(default_factory=dict)
    sealed: dict[str, list[bytes]] = field(default_factory=dict)  # the same as a vault has them
    during: dict[str, Path] = field(default_factory=dict)
    after: dict[str, Path] = field(default_factory=dict)
    shown: dict[str, Listed] = field(default_factory=dict)
    marked: dict[str, Listed] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def record(circle: Circle, tmp_path_factory: pytest.TempPathFactory) -> Record:
    images = tmp_path_factory.mktemp("images")
    await circle.add("ada", *ADA)
    await circle.add("ben", *BEN)
    held = await circle.call("ben")
    made = Record(circle, held, circle.watch())
    await circle.gather()
    made.held = circle.held
    circle.until(held.tick)
    for person in map(circle.person, NAMES):
        made.own_sealed[person.name] = [
            one.sealed for one in stored_texts(person.copy(images / f"{person.name}-0"), PASSPHRASE)
        ]
        rounds._LOT = random.Random(7)  # type: ignore[misc,assignment] -- the same lot for everybody
        await person.sync()
        packets = person.log.rounds.packets(held.id)
        made.dues[person.name] = [at for _, _, at, _ in packets]
        made.packets[person.name] = [packet for _, packet, _, _ in packets]
        stored = person.device.vault.rows("SELECT sealed FROM idea_packet")
        made.sealed[person.name] = [sealed for (sealed,) in stored]
        made.during[person.name] = person.copy(images / f"{person.name}-during")
    rounds._LOT = random.SystemRandom()  # type: ignore[misc]
    await circle.collect()
    await circle.settle()
    for name in (*NAMES, "dan"):
        made.shown[name] = (await circle.shown(name))[0]
        made.after[name] = circle.person(name).copy(images / f"{name}-after")
    return made


async def test_everybody_is_shown_the_same_ideas_in_the_same_order(record: Record) -> None:
    assert sorted(record.shown["cleo"].ideas) == sorted((*ADA, *BEN))
    assert len({record.shown[name].ideas for name in (*NAMES, "dan")}) == 1
    assert {record.shown[name].opened.unread for name in NAMES} == {0}
    assert record.shown["dan"].opened.seats == 3
    for name in NAMES:
        assert [one.kind for one in record.circle.told[name]].count("ideas") == 1


async def test_the_services_view_is_the_same_for_three_ideas_for_one_and_for_none(record: Record) -> None:
    """All that an operator sees by whose line: which requests, how many, how large, in which second of the round."""
    views = []
    for name in NAMES:
        requests = [one for one in record.seen if one.who == name and "/round" in one.path]
        views.append(Counter((one.method, re.sub(r"/[\w-]{22}", "", one.path), one.size) for one in requests))
        packets = [one for one in requests if one.method == "POST" and one.path.startswith("/v1/rounds/")]
        assert len(packets) == record.held.a_seat
        assert all(record.held.tick <= one.at < record.held.closes for one in packets)
    # Who asked first has room made; the same request again is made by everybody.
    assert views[0] == views[1] == views[2]


async def test_no_packet_shows_a_devices_token_and_all_show_the_same_one(record: Record) -> None:
    devices = {one.bearer for one in record.seen if one.path.endswith("/entries")}
    packets = {one.bearer for one in record.seen if one.path.startswith("/v1/rounds/")}
    assert len(devices) == 4
    assert len(packets) == 1
    assert not devices & packets


async def test_when_a_packet_goes_out_says_nothing_about_what_is_in_it(record: Record) -> None:
    """With the same lot drawn, the moments are the same: for three ideas, for one, for none."""
    apart = [[at - dues[0] for at in dues] for dues in record.dues.values()]
    assert apart[0] == apart[1] == apart[2]
    assert len(apart[0]) == record.held.a_seat
    assert all(record.held.tick <= at < record.held.closes for dues in record.dues.values() for at in dues)


async def test_packets_do_not_differ_but_by_chance_and_name_nobody(record: Record) -> None:
    packets = [packet for of in record.packets.values() for packet in of]
    assert {len(packet) for packet in packets} == {4096}
    assert len({packet[:24] for packet in packets}) == len(packets) == record.held.places
    members = record.circle.people[0].log.members
    needles = [member.credential for member in members.values()] + [member.device for member in members.values()]
    needles += [part.key for part in record.held.parts.values()]
    assert not found(needles, packets)


async def test_the_members_view_has_no_name_with_an_idea_and_no_order_that_somebody_chose(record: Record) -> None:
    for name in NAMES:
        with examining(record.after[name], PASSPHRASE) as vault:
            columns = [row[1] for row in vault.rows("PRAGMA table_info(idea_text)")]
            assert not {"sender", "credential", "own", "seat"} & set(columns)
            assert [row[0] for row in vault.rows("SELECT DISTINCT kind FROM idea_text")] == ["shown"]
    # What ada's device sent first, second and third is not what is shown first, second and third; nor sorted by text.
    assert record.shown["ada"].ideas == record.shown["ben"].ideas


async def test_after_the_round_no_vault_says_which_idea_was_its_owners(record: Record) -> None:
    """Not in a table, not in a free page, not in the journal: a seized device does not tell whose idea it was."""
    for name in NAMES:
        with examining(record.after[name], PASSPHRASE) as vault:
            assert vault.rows("SELECT 1 FROM idea_packet") == []
            assert vault.rows("SELECT 1 FROM idea_text WHERE kind = 'own'") == []
            assert vault.rows("SELECT 1 FROM idea_received") == []
            assert vault.rows("SELECT key, token, secret FROM idea_round") in ([], [(b"",) * 3])
        pages = list(vault_pages(record.after[name], PASSPHRASE))
        assert not found(pieces([*record.packets[name], *record.sealed[name]]), pages)
        assert not found(pieces(record.own_sealed[name]), pages)
        # The vaults of who had three and of who had none hold the same number of texts.
        assert len(stored_texts(record.after[name], PASSPHRASE)) == len(
            stored_texts(record.after["cleo"], PASSPHRASE)
        )
    assert found(pieces(record.sealed["ada"]), vault_pages(record.during["ada"], PASSPHRASE)), (
        "nothing was searched"
    )


async def test_marks_and_groups_come_without_a_name_too_and_make_a_draft(record: Record) -> None:
    circle, ideas = record.circle, record.shown["ada"].ideas
    about = record.shown["ada"].opened.round
    road, wells, school = (ideas.index(text) + 1 for text in (ADA[0], BEN[0], ADA[2]))
    await circle.person("ada").channel.ideas.mark(about, frozenset({wells}), {"Water": frozenset({wells})})
    await circle.person("cleo").channel.ideas.mark(
        about, frozenset({wells, road}), {"water": frozenset({wells}), "Roads": frozenset({road})}
    )
    await circle.call("cleo", about=about)
    await circle.through()
    marked = [(await circle.shown(name))[0] for name in NAMES]
    assert len({str(one.tally) for one in marked}) == 1
    tally = marked[0].tally
    assert tally is not None
    assert (tally.marks[wells], tally.marks[road], tally.marks[school]) == (2, 1, 0)
    assert tally.groups == {"Roads": (frozenset({road}), 1), "Water": (frozenset({wells}), 2)}
    text = draft_text(marked[0], "What we could try", 1)
    assert text == (f"# What we could try\n\n## Water\n\n- {BEN[0]}\n\n## Roads\n\n- {ADA[0]}\n")
    with pytest.raises(UserError):
        draft_text(marked[0], "Nothing", 4)
    keys = [(name, PressKey(f"{name}.example", ReleaseKey.generate().public)) for name in NAMES]
    paper = await circle.person("ben").channel.releases.table(
        compose([("en", text)], keys, circle.now() + 3 * HOUR), 20 * HOUR
    )
    await circle.visit()
    held = circle.person("ada").log.folded.papers[paper]
    assert circle.person("ada").log.signing.papers.communique(held).words == (text.strip(),)


async def test_who_lets_words_live_shorter_on_their_device_lets_lists_too(record: Record) -> None:
    circle, cleo = record.circle, record.circle.person("cleo")
    before = (await circle.shown("ada"))[0].opened
    await cleo.channel.set_own_rule(6 * HOUR, 0)
    after = (await circle.shown("cleo"))[0].opened
    assert after.expires_at == after.since + 6 * HOUR < before.expires_at
    texts = cleo.log.rounds.texts.of("shown", after.round)
    assert len(texts) == len((*ADA, *BEN))
    assert all(text.expires_at <= after.expires_at and text.end <= after.expires_at + HOUR for text in texts)
    await cleo.channel.set_own_rule(6 * HOUR, 2 * HOUR)
    read = (await circle.shown("cleo"))[0].opened
    assert read.expires_at <= cleo.clock() + 2 * HOUR
    assert (await circle.shown("ada"))[0].opened == before


async def test_a_list_ends_as_messages_do_also_on_a_copy_that_was_taken_before(record: Record) -> None:
    circle, ada = record.circle, record.circle.person("ada")
    image = stored_texts(record.after["ada"], PASSPHRASE)
    assert found(traces(ADA[0]), open_texts(image, ada.log.store.hours.at_hand().values())), "nothing was tried"
    circle.until(record.held.closes + record.held.life + 2 * HOUR)
    await circle.visit()
    for person in circle.people:
        person.device.purge()
    assert await circle.shown("ada") == []
    await ada.channel.open_texts()
    halves = [half for end, half in ada.log.store.hours.at_hand().items() if end > circle.now()]
    assert not found([t for text in (*ADA, *BEN) for t in traces(text)], open_texts(image, halves))
    assert stored_texts(ada.copy(record.after["ada"].with_name("ada-ended")), PASSPHRASE) == []
