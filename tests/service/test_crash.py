"""Kill the real process at random moments under load: what was acknowledged is there, and nothing twice."""

import random
import secrets
import threading
import time
from pathlib import Path

import httpx
import pytest

from pourparler_policies import wire
from pourparler_policies.wire import Route
from pourparler_service.testing import ServerProcess, TestDevice, events, found_channel

AUTHORS = 4
KILLS = 5


class Author(threading.Thread):
    """Appends for ever; after a broken connection it sends the same bytes again, as a client does."""

    def __init__(self, device: TestDevice) -> None:
        super().__init__(daemon=True)
        self.device, self.url = device, ""
        self.up = threading.Event()  # while the server is down there is nothing to try
        self.receipts: dict[bytes, wire.Receipt] = {}
        self.refused: list[str] = []
        self.stopped = False

    def run(self) -> None:
        asked = self.device.append()
        while not self.stopped:
            self.up.wait()
            try:
                with httpx.Client(base_url=self.url, timeout=10) as client:
                    while not self.stopped:
                        answer = self.device.send(client, asked)
                        if answer.status_code == 503:
                            continue
                        if answer.status_code != 201:
                            self.refused.append(answer.text)
                            return
                        self.receipts[asked.entry] = wire.Receipt.model_validate_json(answer.content)
                        asked = self.device.append()
            except httpx.TransportError:
                time.sleep(0.05)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print("seed", seed)
    pauses = random.Random(seed)
    server = ServerProcess(tmp_path)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        devices = found_channel(client, tmp_path, AUTHORS)
        incarnation = client.get(Route.SERVICE).json()["incarnation"]
    authors = [Author(device) for device in devices]
    for author in authors:
        author.url = server.url
        author.up.set()
        author.start()
    for _ in range(KILLS):
        time.sleep(pauses.uniform(0.05, 1.0))
        server.kill()
        for author in authors:
            author.up.clear()
        server = ServerProcess(tmp_path)
        for author in authors:
            author.url = server.url
            author.up.set()
    time.sleep(0.5)
    for author in authors:
        author.stopped = True
    for author in authors:
        author.join(30)
    assert [author.refused for author in authors] == [[]] * AUTHORS  # no wrong count, no reused id
    acknowledged = {entry: receipt for author in authors for entry, receipt in author.receipts.items()}
    assert len(acknowledged) > KILLS  # the kills came while work was being done, on a slow machine too
    with httpx.Client(base_url=server.url, timeout=20) as client:
        reader = devices[0]
        stored: list[wire.Entry] = []
        while page := wire.Page.model_validate_json(
            reader.page(client, stored[-1].seq if stored else 0).content
        ).entries:
            stored += page
        by_id = {entry.entry: entry for entry in stored}
        assert len(by_id) == len(stored)
        assert [entry.seq for entry in stored] == list(range(1, len(stored) + 1))
        for entry, receipt in acknowledged.items():
            found = by_id[entry]
            assert (found.seq, found.received_at, found.expires_at) == tuple(receipt.model_dump().values())
        # Beyond those there are only the admissions, and each author's last append, whose answer was never read.
        assert len(stored) <= len(acknowledged) + (AUTHORS - 1) + AUTHORS
        # A crash is not a restore.
        assert client.get(Route.SERVICE).json()["incarnation"] == incarnation
    assert server.stop() == (0, "")


def test_sixteen_concurrent_appenders_and_no_reader_ever_passes_over_an_entry(
    client: httpx.Client, data: Path
) -> None:
    """#12: seq n is never seen before n - 1, neither by cursor nor on a stream."""
    from concurrent.futures import ThreadPoolExecutor

    each, writers = 30, 16
    channels = [found_channel(client, data, 6) for _ in range(3)]
    devices = [device for channel in channels for device in channel][:writers]
    total = [each * len([one for one in devices if one in channel]) + 5 for channel in channels]

    def write(device: TestDevice) -> None:
        with httpx.Client(base_url=client.base_url, timeout=20) as own:
            for _ in range(each):
                assert device.send(own).status_code == 201

    def read_pages(channel: int) -> list[int]:
        seen: list[int] = []
        with httpx.Client(base_url=client.base_url, timeout=20) as own:
            while len(seen) < total[channel]:
                limit = random.randint(1, 40)
                page = channels[channel][0].page(own, seen[-1] if seen else 0, limit)
                seen += [one["seq"] for one in page.json()["entries"]]
                time.sleep(0.02)
        return seen

    def read_stream(channel: int) -> list[int]:
        device, seen = channels[channel][1], [0]
        with (
            httpx.Client(base_url=client.base_url, timeout=20) as own,
            own.stream("GET", device.path(Route.STREAM), headers=device.headers) as stream,
        ):
            for name, number, _ in events(stream.iter_lines()):
                if name == "entry":
                    seen.append(int(number))
                if seen[-1] == total[channel]:
                    return seen[1:]
        raise AssertionError("the stream ended")

    with ThreadPoolExecutor(writers + 6) as pool:
        pages = [pool.submit(read_pages, channel) for channel in range(3)]
        streams = [pool.submit(read_stream, channel) for channel in range(3)]
        for done in [pool.submit(write, device) for device in devices]:
            done.result(60)
        for channel in range(3):
            assert pages[channel].result(60) == list(range(1, total[channel] + 1))
            assert streams[channel].result(60) == list(range(1, total[channel] + 1))
