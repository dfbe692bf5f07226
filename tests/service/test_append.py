"""What an append promises, rule by rule, and what each attack on it is answered."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.charter.document import PROCEDURE_MARGIN
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    bearer,
    body,
    found_channel,
    problem,
    seat,
    settings_of,
    threaded,
)


@pytest.fixture
def pair(client: httpx.Client, data: Path) -> list[TestDevice]:
    return found_channel(client, data, 2)


def head(client: httpx.Client, device: TestDevice) -> wire.Channel:
    answer = client.get(device.path(Route.CHANNEL), headers=device.headers)
    return wire.Channel.model_validate_json(answer.content)


def test_an_accepted_entry_is_read_by_the_others_byte_for_byte(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    author, reader = pair
    asked = author.append(life=77)
    receipt = wire.Receipt.model_validate_json(author.send(client, asked).content)
    page = wire.Page.model_validate_json(reader.page(client, receipt.seq - 1).content)
    (entry,) = page.entries
    assert (entry.entry, entry.sealed, entry.handshake) == (asked.entry, asked.sealed, False)
    assert (entry.seq, entry.received_at, entry.expires_at) == (
        receipt.seq,
        receipt.received_at,
        receipt.expires_at,
    )
    assert receipt.expires_at == receipt.received_at + 77
    assert page.head == receipt.seq


def test_seq_rises_by_one_and_received_at_never_falls(client: httpx.Client, pair: list[TestDevice]) -> None:
    receipts = [author.send(client).json() for _ in range(5) for author in pair]
    assert [one["seq"] for one in receipts] == list(range(receipts[0]["seq"], receipts[0]["seq"] + 10))
    assert [one["received_at"] for one in receipts] == sorted(one["received_at"] for one in receipts)


def test_a_retry_of_the_same_append_gets_the_same_receipt_and_stores_nothing(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    author = pair[0]
    asked = author.append()
    first = author.send(client, asked)
    before = head(client, author)
    for _ in range(3):
        again = author.send(client, asked)
        assert (again.status_code, again.content) == (201, first.content)
    assert head(client, author) == before


def test_a_retry_is_known_even_when_the_author_has_appended_more_since(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    author = pair[0]
    asked = author.append()
    first = author.send(client, asked)
    author.send(client)
    assert author.send(client, asked).content == first.content


def test_a_retry_is_known_although_a_handshake_came_between(client: httpx.Client, pair: list[TestDevice]) -> None:
    """The entry id is looked at before the head (#21)."""
    other, author = pair
    asked = author.append()
    first = author.send(client, asked)
    assert other.send(client, handshake=True).status_code == 201
    assert author.send(client, asked).content == first.content


def test_concurrent_retries_of_one_append_store_it_once(client: httpx.Client, pair: list[TestDevice]) -> None:
    author = pair[0]
    asked = author.append()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: author.send(client, asked), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert head(client, author).count == asked.count


@pytest.mark.parametrize("change", ["sealed", "life", "handshake", "delete_hash", "handshake_head", "count"])
def test_an_id_with_other_content_is_refused(client: httpx.Client, pair: list[TestDevice], change: str) -> None:
    author = pair[0]
    asked = author.append()
    author.send(client, asked)
    others = {
        "sealed": secrets.token_bytes(1024),
        "life": asked.life + 1,
        "handshake": True,
        "delete_hash": secrets.token_bytes(32),
        "handshake_head": asked.handshake_head + 1,
        "count": asked.count + 1,
    }
    answer = author.send(client, asked.model_copy(update={change: others[change]}))
    assert (answer.status_code, problem(answer)) == (409, "id-reused")


def test_nobody_takes_over_the_id_of_anothers_entry(client: httpx.Client, pair: list[TestDevice]) -> None:
    author, thief = pair
    asked = author.append()
    author.send(client, asked)
    answer = thief.send(client, thief.append(entry=asked.entry))
    assert problem(answer) == "id-reused"
    assert head(client, thief).count == 0


@pytest.mark.parametrize("jump", [-1, 1, 5])
def test_a_count_that_does_not_follow_is_refused_and_told_the_last(
    client: httpx.Client, pair: list[TestDevice], jump: int
) -> None:
    """An old copy of a vault finds out before it reuses a key (#11)."""
    author = pair[0]
    author.send(client)
    answer = author.send(client, count=author.count + 1 + jump)
    assert (answer.status_code, problem(answer)) == (409, "wrong-count")
    assert answer.json()["count"] == author.count
    assert author.send(client).status_code == 201


def test_an_append_behind_a_handshake_is_stale_and_costs_no_count(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    author, other = pair
    assert author.send(client, handshake=True).status_code == 201
    for kind in (True, False):
        answer = other.send(client, handshake=kind)
        assert (answer.status_code, problem(answer)) == (409, "stale")
        assert answer.json()["handshake_head"] == author.handshake_head
    other.handshake_head = author.handshake_head
    assert other.send(client).status_code == 201


def test_an_append_from_the_future_is_stale_too(client: httpx.Client, pair: list[TestDevice]) -> None:
    author = pair[0]
    assert problem(author.send(client, handshake_head=author.handshake_head + 1)) == "stale"


def test_of_racing_commits_exactly_one_is_accepted(place: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        devices = found_channel(client, place, 5)
        now[0] += limits.HANDSHAKE_REFILL  # newcomers may post none before
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda one: one.send(client, handshake=True), devices[1:]))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_the_id_is_looked_at_before_the_count_and_the_count_before_the_head(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    author = pair[0]
    asked = author.append()
    author.send(client, asked)
    assert (
        problem(author.send(client, asked.model_copy(update={"count": 99, "handshake_head": 98}))) == "id-reused"
    )
    assert problem(author.send(client, count=99, handshake_head=98)) == "wrong-count"


def test_a_flood_of_handshakes_ends_while_the_others_still_get_through(place: Path) -> None:
    """A token that only posts handshakes cannot starve the rest (#20)."""
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        honest, flooder = found_channel(client, place, 2)
        now[0] += limits.HANDSHAKE_BURST * limits.HANDSHAKE_REFILL
        for _ in range(limits.HANDSHAKE_BURST):
            assert flooder.send(client, handshake=True).status_code == 201
        for _ in range(10):
            answer = flooder.send(client, handshake=True)
            assert (answer.status_code, problem(answer)) == (429, "budget")
            assert 1 <= int(answer.headers["retry-after"]) <= limits.HANDSHAKE_REFILL
        assert flooder.send(client).status_code == 201  # messages are not handshakes
        honest.handshake_head = flooder.handshake_head
        assert honest.send(client, handshake=True).status_code == 201


def test_a_clock_that_is_set_back_keeps_nobody_waiting_until_it_has_caught_up(place: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        (founder,) = found_channel(client, place)
        now[0] += limits.HANDSHAKE_BURST * limits.HANDSHAKE_REFILL
        for _ in range(limits.HANDSHAKE_BURST):
            assert founder.send(client, handshake=True).status_code == 201
        now[0] -= limits.DAY
        assert problem(founder.send(client, handshake=True)) == "budget"
        now[0] += limits.HANDSHAKE_REFILL
        assert founder.send(client, handshake=True).status_code == 201
        assert problem(founder.send(client, handshake=True)) == "budget"


def test_devices_that_a_member_seats_bring_it_no_handshakes(place: Path) -> None:
    """A member cannot make handshakes out of junk devices: all of them together have its own burst."""
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        honest, rogue = found_channel(client, place, 2)
        now[0] += limits.DAY / 2
        rogue.handshake_head = honest.handshake_head
        junk = seat(client, rogue, limits.HANDSHAKE_BURST - 1)
        assert rogue.send(client, handshake=True).status_code == 201
        for device in (rogue, *junk):
            device.handshake_head = rogue.handshake_head
            box, _ = opened_box(client, device)
            for asked in (device.append(handshake=True), device.admit(TestDevice(device.channel), box)):
                answer = device.send(client, asked)
                assert problem(answer) == "budget"
                assert 1 <= int(answer.headers["retry-after"]) <= limits.HANDSHAKE_REFILL
        honest.handshake_head = rogue.handshake_head
        assert honest.send(client, handshake=True).status_code == 201


def test_a_newcomer_speaks_at_once_changes_its_keys_soon_and_has_its_burst_in_time(place: Path) -> None:
    now = [1_800_000_000.0]
    with (
        threaded(settings_of(place, clock=lambda: now[0])) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        (founder,) = found_channel(client, place)
        *_, newcomer = seat(client, founder, limits.HANDSHAKE_BURST)  # as many as a burst, one after the other
        assert newcomer.send(client).status_code == 201
        now[0] += limits.HANDSHAKE_REFILL
        assert newcomer.send(client, handshake=True).status_code == 201
        assert problem(newcomer.send(client, handshake=True)) == "budget"
        now[0] += limits.DAY / 2
        for _ in range(limits.HANDSHAKE_BURST):
            assert newcomer.send(client, handshake=True).status_code == 201


def test_a_refused_handshake_costs_no_budget(client: httpx.Client, pair: list[TestDevice]) -> None:
    author = pair[0]
    for _ in range(2 * limits.HANDSHAKE_BURST):
        assert problem(author.send(client, handshake=True, handshake_head=0)) == "stale"
    assert author.send(client, handshake=True).status_code == 201


@pytest.mark.parametrize("size", [1, 1023, 1025, 4097, limits.MAX_SEALED - 1])
def test_a_size_that_is_no_bucket_is_malformed(client: httpx.Client, pair: list[TestDevice], size: int) -> None:
    assert problem(pair[0].send(client, sealed=bytes(size))) == "malformed"


@pytest.mark.parametrize("size", limits.BUCKETS)
def test_each_bucket_is_taken_and_given_back(client: httpx.Client, pair: list[TestDevice], size: int) -> None:
    author, reader = pair
    asked = author.append(sealed=secrets.token_bytes(size))
    seq = author.send(client, asked).json()["seq"]
    assert wire.Page.model_validate_json(reader.page(client, seq - 1).content).entries[0].sealed == asked.sealed


def test_pages_of_large_entries_are_cut_and_can_be_followed(client: httpx.Client, pair: list[TestDevice]) -> None:
    author, reader = pair
    sent = [author.send(client, sealed=secrets.token_bytes(limits.MAX_SEALED)).json()["seq"] for _ in range(10)]
    author.send(client)
    seen: list[int] = []
    while len(seen) < len(sent):
        page = wire.Page.model_validate_json(reader.page(client, (seen or [sent[0] - 1])[-1], 400).content)
        assert sum(len(one.sealed) for one in page.entries) <= limits.MAX_PAGE_BYTES
        seen += [one.seq for one in page.entries if one.seq <= sent[-1]]
    assert seen == sent


# --- letting a device in ---------------------------------------------------------------------------------------


def test_a_newcomer_sees_its_add_and_nothing_before(client: httpx.Client, data: Path) -> None:
    (founder,) = found_channel(client, data)
    for _ in range(3):
        founder.send(client)
    (newcomer,) = seat(client, founder, 1)
    mine = head(client, newcomer)
    assert (mine.first_seq, mine.count, mine.handshake_head) == (4, 0, 4)
    for after in (0, 1, 3):
        page = wire.Page.model_validate_json(newcomer.page(client, after).content)
        assert [one.seq for one in page.entries] == [4]
    assert [one.seq for one in wire.Page.model_validate_json(founder.page(client).content).entries] == [1, 2, 3, 4]


def opened_box(client: httpx.Client, device: TestDevice, life: int = 60) -> tuple[bytes, bytes]:
    box, token = secrets.token_bytes(16), secrets.token_bytes(32)
    asked = wire.CreateBox(box=box, token_hash=sha256(token).digest(), life=life)
    assert client.post(device.path(Route.BOXES), content=body(asked), headers=device.headers).status_code == 204
    return box, token


def test_the_welcome_lies_in_the_box_as_soon_as_the_add_is_stored(
    client: httpx.Client, pair: list[TestDevice]
) -> None:
    founder, newcomer = pair[0], TestDevice(pair[0].channel)
    box, token = opened_box(client, founder)
    asked = founder.admit(newcomer, box)
    assert founder.send(client, asked).status_code == 201
    place = Route.BOX_SLOT.format(box=secrets_text(box), slot=3)
    found = wire.Deposited.model_validate_json(client.get(place, headers=bearer(token)).content)
    assert asked.admit is not None
    assert found.sealed == asked.admit.welcome


def secrets_text(data: bytes) -> str:
    return bearer(data)["Authorization"].removeprefix("Bearer ")


def test_a_refused_add_lets_nobody_in_and_leaves_no_welcome(client: httpx.Client, pair: list[TestDevice]) -> None:
    founder, newcomer = pair[0], TestDevice(pair[0].channel)
    box, token = opened_box(client, founder)
    assert problem(founder.send(client, founder.admit(newcomer, box, handshake_head=0))) == "stale"
    place = Route.BOX_SLOT.format(box=secrets_text(box), slot=3)
    assert problem(client.get(place, headers=bearer(token))) == "not-found"
    assert newcomer.page(client).status_code == 401


def test_an_add_names_an_open_box_of_its_channel_and_an_unknown_device(
    client: httpx.Client, pair: list[TestDevice], data: Path
) -> None:
    founder, other = pair
    box, _ = opened_box(client, founder)
    (stranger,) = found_channel(client, data)
    foreign, _ = opened_box(client, stranger)
    newcomer = TestDevice(founder.channel)
    assert problem(founder.send(client, founder.admit(newcomer, secrets.token_bytes(16)))) == "not-found"
    assert problem(founder.send(client, founder.admit(newcomer, foreign))) == "not-found"
    assert problem(founder.send(client, founder.admit(other, box))) == "id-reused"
    same_token = TestDevice(founder.channel, token=other.token)
    assert problem(founder.send(client, founder.admit(same_token, box))) == "id-reused"
    assert founder.send(client, founder.admit(newcomer, box)).status_code == 201
    again = TestDevice(founder.channel)
    assert problem(founder.send(client, founder.admit(again, box))) == "id-reused"  # its slot holds a Welcome


def test_only_a_handshake_lets_a_device_in(client: httpx.Client, pair: list[TestDevice]) -> None:
    box, _ = opened_box(client, pair[0])
    asked = pair[0].admit(TestDevice(pair[0].channel), box).model_copy(update={"handshake": False})
    assert problem(pair[0].send(client, asked)) == "malformed"


# --- after a restart -------------------------------------------------------------------------------------------


def test_everything_holds_after_a_restart(place: Path) -> None:
    """Counts, heads, receipts and ids come from the database, not from memory."""
    first = ServerProcess(place)
    with httpx.Client(base_url=first.url, timeout=20) as client:
        author, other = found_channel(client, place, 2)
        asked = author.append()
        receipt = author.send(client, asked).content
        stale = author.append()
        author.send(client, handshake=True)
        before = head(client, author)
        pages = author.page(client).json()
    assert first.stop() == (0, "")
    second = ServerProcess(place)
    with httpx.Client(base_url=second.url, timeout=20) as client:
        assert head(client, author) == before
        assert author.page(client).json() == pages
        assert author.send(client, asked).content == receipt
        assert problem(author.send(client, stale)) == "wrong-count"
        assert problem(other.send(client)) == "stale"
        assert author.send(client).json()["seq"] == before.head + 1
    assert second.stop() == (0, "")


def test_the_caps_bind(place: Path) -> None:
    caps = Caps(longest_life=7200, largest_entry=4096, devices_a_channel=2)
    with threaded(settings_of(place, caps=caps)) as url, httpx.Client(base_url=url, timeout=20) as client:
        author, _ = found_channel(client, place, 2)
        assert problem(author.send(client, life=7201)) == "over-cap"
        assert problem(author.send(client, life=10, sealed=bytes(16 * 1024))) == "over-cap"
        assert author.send(client, life=7200, sealed=bytes(4096)).status_code == 201
        box, _ = opened_box(client, author)
        answer = author.send(client, author.admit(TestDevice(author.channel), box, life=10))
        assert problem(answer) == "over-cap"
        told = client.get(Route.SERVICE).json()["caps"]
        assert (told["longest_life"], told["largest_entry"], told["devices_a_channel"]) == (7200, 4096, 2)


# --- how much lives in a channel -------------------------------------------------------------------------------


def test_a_channel_that_is_full_takes_no_more_until_something_goes(place: Path) -> None:
    caps = Caps(bytes_a_channel=4 * limits.MAX_SEALED)
    now = [1_800_000_000.0]
    settings = settings_of(place, caps=caps, clock=lambda: now[0])
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        (author,) = found_channel(client, place)
        box, token = opened_box(client, author, life=7200)
        slot = Route.BOX_SLOT.format(box=secrets_text(box), slot=0)
        deposit = body(wire.Deposit(sealed=bytes(limits.MAX_SEALED)))
        headers = {**bearer(token), "Content-Type": "application/json"}
        large = {"sealed": bytes(limits.MAX_SEALED)}

        assert author.send(client, **large, life=limits.HOUR).status_code == 201
        secret = secrets.token_bytes(32)
        deleted = author.append(**large, delete_hash=sha256(secret).digest())
        assert author.send(client, deleted).status_code == 201
        assert client.put(slot, content=deposit, headers=headers).status_code == 204
        assert client.put(slot, content=deposit, headers=headers).status_code == 204  # the same again is harmless
        assert author.send(client, deleted).status_code == 201  # and so is a retry

        # The last sixteenth is for handshakes, so that who filled the rest can be removed.
        assert problem(author.send(client, **large)) == "over-cap"
        assert author.send(client, handshake=True, **large).status_code == 201
        assert problem(author.send(client, handshake=True)) == "over-cap"
        other = slot[:-1] + "1"
        assert problem(client.put(other, content=deposit, headers=headers)) == "over-cap"
        (free,) = found_channel(client, place)
        assert free.send(client, **large).status_code == 201

        path, asked = author.path(Route.DELETION, entry=deleted.entry), wire.Deletion(secret=secret)
        assert client.post(path, content=body(asked), headers=author.headers).status_code == 204
        assert author.send(client).status_code == 201
        assert problem(author.send(client, **large)) == "over-cap"
        assert client.delete(slot.removesuffix("/0"), headers=headers).status_code == 204
        assert author.send(client, **large).status_code == 201
        assert problem(author.send(client, **large)) == "over-cap"
        now[0] += limits.HOUR + 1
        free.page(client)
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=20) as client:  # which purges as it starts
        for _ in range(2):  # the handshake is still there
            assert author.send(client, **large).status_code == 201
        assert problem(author.send(client, **large)) == "over-cap"


def test_a_batch_of_appends_is_counted_one_by_one(place: Path) -> None:
    settings = settings_of(place, caps=Caps(bytes_a_channel=4 * limits.MAX_SEALED))
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        devices = found_channel(client, place, 6)
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda one: one.send(client, sealed=bytes(limits.MAX_SEALED)), devices))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [403] * 3


def test_a_handshake_ends_for_nobody_before_who_was_away_can_have_read_it(place: Path) -> None:
    """Else who was offline for two seconds would hold another state than the rest, and alarm for ever."""
    now = [1_800_000_000.0]
    settings = settings_of(place, clock=lambda: now[0])
    with threaded(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        (author,) = found_channel(client, place, absence_limit=limits.DAY)
        secret = secrets.token_bytes(32)
        asked = [author.append(life=1, delete_hash=sha256(secret).digest())]
        assert author.send(client, asked[0]).status_code == 201
        asked.append(author.append(life=1, handshake=True, delete_hash=sha256(secret).digest()))
        receipt = author.send(client, asked[1]).json()
        assert receipt["expires_at"] - receipt["received_at"] == limits.DAY + PROCEDURE_MARGIN
        deletion = body(wire.Deletion(secret=secret))
        answers = [
            client.post(author.path(Route.DELETION, entry=one.entry), content=deletion, headers=author.headers)
            for one in asked
        ]
        assert [answer.status_code for answer in answers] == [204, 404]
        now[0] += limits.DAY
        assert [entry["handshake"] for entry in author.page(client).json()["entries"]] == [True]
