"""Drop boxes: four write-once slots for an invitation, for whoever holds the box's secret."""

import secrets
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.testing import (
    TestDevice,
    b64,
    bearer,
    body,
    everything_kept,
    found_channel,
    problem,
    settings_of,
    threaded,
)

SEALED = bytes(1024)

pytestmark = pytest.mark.long_on_postgresql


class Box:
    def __init__(self, client: httpx.Client, life: int = 60) -> None:
        self.client, self.life = client, life
        self.box, self.secret = secrets.token_bytes(16), secrets.token_bytes(32)

    def open(self, device: TestDevice) -> httpx.Response:
        asked = wire.CreateBox(box=self.box, token_hash=sha256(self.secret).digest(), life=self.life)
        return self.client.post(device.path(Route.BOXES), content=body(asked), headers=device.headers)

    def place(self, slot: object) -> str:
        return Route.BOX_SLOT.format(box=b64(self.box), slot=slot)

    def put(self, slot: object, sealed: bytes, secret: bytes | None = None) -> httpx.Response:
        headers = {**bearer(secret or self.secret), "Content-Type": "application/json"}
        return self.client.put(self.place(slot), content=body(wire.Deposit(sealed=sealed)), headers=headers)

    def get(self, slot: object, secret: bytes | None = None) -> httpx.Response:
        return self.client.get(self.place(slot), headers=bearer(secret or self.secret))

    def delete(self, secret: bytes | None = None) -> httpx.Response:
        return self.client.delete(Route.BOX.format(box=b64(self.box)), headers=bearer(secret or self.secret))


@pytest.fixture
def device(client: httpx.Client, data: Path) -> TestDevice:
    return found_channel(client, data)[0]


@pytest.fixture
def box(client: httpx.Client, device: TestDevice) -> Box:
    one = Box(client)
    assert one.open(device).status_code == 204
    return one


def test_each_slot_gives_back_what_was_left_in_it(box: Box) -> None:
    for slot in range(limits.BOX_SLOTS):
        assert problem(box.get(slot)) == "not-found"
        sealed = secrets.token_bytes(limits.BUCKETS[slot])
        assert box.put(slot, sealed).status_code == 204
        assert wire.Deposited.model_validate_json(box.get(slot).content).sealed == sealed


def test_a_slot_is_written_once_and_the_same_bytes_again_are_harmless(box: Box) -> None:
    first = secrets.token_bytes(1024)
    assert box.put(0, first).status_code == 204
    assert box.put(0, first).status_code == 204
    answer = box.put(0, secrets.token_bytes(1024))
    assert (answer.status_code, problem(answer)) == (409, "id-reused")
    assert wire.Deposited.model_validate_json(box.get(0).content).sealed == first


@pytest.mark.parametrize("slot", ["4", "-1", "x", "00", "1.0", "%31", "٣"])
def test_there_are_four_slots_and_no_other_way_to_name_them(box: Box, slot: str) -> None:
    if slot == "%31":  # the same path, written otherwise
        assert box.put(slot, SEALED).status_code == 204
        assert box.get(1).status_code == 200
    else:
        assert problem(box.put(slot, SEALED)) == "not-found"
        assert problem(box.get(slot)) == "not-found"


def test_a_guess_at_a_box_says_nothing(box: Box, client: httpx.Client, device: TestDevice) -> None:
    """A wrong secret for a box that exists, and any secret for one that does not, are answered alike."""
    box.put(0, SEALED)
    other = Box(client)
    answers = [
        box.get(0, secrets.token_bytes(32)), box.get(0, device.token), box.put(1, SEALED, secrets.token_bytes(32)),
        box.delete(secrets.token_bytes(32)), other.get(0), other.put(0, SEALED), other.delete(),
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert box.get(0).status_code == 200


def test_opening_again_is_harmless_and_another_box_of_its_id_is_refused(
    box: Box, client: httpx.Client, device: TestDevice, data: Path
) -> None:
    assert box.open(device).status_code == 204
    thief = Box(client)
    thief.box = box.box
    assert problem(thief.open(device)) == "id-reused"
    (stranger,) = found_channel(client, data)
    assert problem(box.open(stranger)) == "id-reused"
    assert box.put(0, SEALED).status_code == 204


def test_a_deleted_box_is_gone_with_all_that_lay_in_it(box: Box, data: Path) -> None:
    mark = secrets.token_bytes(16)
    box.put(2, mark * 64)
    assert box.delete().status_code == 204
    assert problem(box.get(2)) == "unauthorized"
    kept = everything_kept(data)
    assert mark not in kept
    assert box.box not in kept


def test_a_deposit_has_a_buckets_size(box: Box) -> None:
    assert problem(box.put(0, bytes(1025))) == "malformed"


def test_a_box_outlives_the_device_that_opened_it(client: httpx.Client, data: Path) -> None:
    """The newcomer must still find its Welcome when who invited it has left."""
    inviter, _ = found_channel(client, data, 2)
    box = Box(client)
    box.open(inviter)
    box.put(3, SEALED)
    assert client.delete(inviter.path(Route.OWN_DEVICE), headers=inviter.headers).status_code == 204
    assert box.get(3).status_code == 200


def test_the_caps_bind_boxes(place: Path) -> None:
    caps = Caps(boxes_a_device=2, longest_box_life=100, largest_entry=4096)
    with threaded(settings_of(place, caps=caps)) as url, httpx.Client(base_url=url, timeout=20) as client:
        (device,) = found_channel(client, place)
        assert problem(Box(client, life=101).open(device)) == "over-cap"
        boxes = [Box(client) for _ in range(3)]
        assert [one.open(device).status_code for one in boxes] == [204, 204, 403]
        assert problem(boxes[0].put(0, bytes(16 * 1024))) == "over-cap"
        assert boxes[0].delete().status_code == 204
        assert boxes[2].open(device).status_code == 204
