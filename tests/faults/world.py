"""One run: load, faults at random, healing, and then whether what is promised holds.

1. Every acknowledged entry that has not expired is delivered to every device, once, at the place and with the times of
   its receipt.
2. Nothing is there twice, and nothing that nobody sent.
3. An author's entries lie in the order in which they were sent; times do not run backwards; streams pass nothing over.
4. What has expired is served to nobody and is in no file.
5. The service recovers by itself: nobody has to do anything but start it.
6. No log names a channel, a device, an address or an entry, or tells of a fault that nobody expected.
"""

import base64
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from pourparler_policies import wire
from pourparler_service.testing import TestDevice, found_channel

from .load import Author, Reader, Stuck, page_through
from .shared import Shared
from .site import Embedded

CHANNELS, DEVICES = 2, 3
_GRACE = 2  # seconds between the clocks of two processes of one machine, and of rounding


class Run:
    """A run with a seed: the same seed gives the same faults at the same pauses, though not the same interleaving."""

    def __init__(self, seed: int, seconds: float, root: Path, site: type[Embedded] | type[Shared]) -> None:
        self.chance, self.seconds = random.Random(seed), seconds
        self.site = site(root)
        self.faults: Counter[str] = Counter()
        self.channels: list[list[TestDevice]] = []

    def go(self) -> tuple[int, Counter[str]]:
        """Returns how many entries were acknowledged, and the faults. Raises AssertionError."""
        try:
            with httpx.Client(base_url=self.site.urls[0], timeout=30, trust_env=False) as client:
                self.channels = [found_channel(client, self.site.data, DEVICES) for _ in range(CHANNELS)]
            where = lambda: random.choice(self.site.urls)  # noqa: E731
            devices = [device for channel in self.channels for device in channel]
            authors = [Author(d, where, random.Random(self.chance.random())) for d in devices]
            readers = [Reader(channel[0], where) for channel in self.channels]
            others = [Stuck(channel[1], where) for channel in self.channels]
            for one in (*authors, *readers, *others):
                one.start()
            self._befall()
            time.sleep(1)
            for author in authors:
                author.ending.set()
            for author in authors:
                author.join(60)
            self._check(authors)
            for one in (*readers, *others):
                one.ending.set()
            for one in (*readers, *others):
                one.join(30)
            self._check_streams(readers, authors)
            self._check_gone(authors)
            return sum(len(author.receipts) for author in authors), self.faults
        finally:
            self.site.close()
            self._check_logs()

    def _befall(self) -> None:
        until = time.monotonic() + self.seconds
        acts = self.site.acts(self.chance)
        while time.monotonic() < until:
            time.sleep(self.chance.uniform(0.05, 0.8))
            name = self.chance.choice([*acts])
            acts[name]()
            self.faults[name] += 1
        self.site.settle()

    def _over(self) -> float:
        """Up to here the service's clock may have said that it is over."""
        return self.site.latest() + _GRACE

    def _check(self, authors: list[Author]) -> None:
        assert not [wrong for author in authors for wrong in author.wrong]
        for channel in self.channels:
            own = [author for author in authors if author.device in channel]
            sent = {entry for author in own for entry in author.receipts}
            sent |= {author.under_way.entry for author in own if author.under_way is not None}
            before = time.time() - _GRACE
            logs = [page_through(device, random.choice(self.site.urls), self.site.settle) for device in channel]
            for entries in logs:
                assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
                times = [entry.received_at for entry in entries]
                assert times == sorted(times), "the log's time ran backwards"
                ids = Counter(entry.entry for entry in entries)
                assert max(ids.values(), default=1) == 1, "an entry is there twice"
                assert {entry.entry for entry in entries if not entry.handshake} <= sent
                assert not [entry for entry in entries if entry.expires_at < before], "served after its end"
                places = {entry.entry: entry for entry in entries}
                for author in own:
                    living = [
                        (asked, receipt)
                        for asked, receipt in author.receipts.values()
                        if receipt.expires_at > self._over()
                    ]
                    for asked, receipt in living:
                        found = places.get(asked.entry)
                        assert found is not None, "an acknowledged entry is not there"
                        assert found.sealed == asked.sealed
                        assert (found.seq, found.received_at, found.expires_at) == (
                            receipt.seq,
                            receipt.received_at,
                            receipt.expires_at,
                        )
                    order = [receipt.seq for _, receipt in author.receipts.values()]
                    assert order == sorted(order), "an author's entries are out of order"
            self._check_alike(logs, since=channel[0].handshake_head)

    def _check_alike(self, logs: list[list[wire.Entry]], since: int) -> None:
        """The last device was let in at `since`, and is shown nothing before. What one was shown beyond another's end
        was still under way: nobody waits for the answers of authors that vanished.
        """
        over, end = self._over(), min(entries[-1].seq if entries else 0 for entries in logs)
        seen = [
            {e.seq: e.sealed for e in entries if since <= e.seq <= end and e.expires_at > over} for entries in logs
        ]
        differ = {seq for one in seen for seq in one.keys() ^ seen[0].keys()}
        assert not differ, f"two devices see different logs: {sorted(differ)} of {since} to {end}"
        assert all(one == seen[0] for one in seen), "two devices see different entries"

    def _check_streams(self, readers: list[Reader], authors: list[Author]) -> None:
        for reader, channel in zip(readers, self.channels, strict=True):
            seqs = [seq for seq, _ in reader.seen]
            assert seqs == sorted(set(seqs)), "a stream went back, or told something twice"
            told = dict(reader.seen)
            for author in (one for one in authors if one.device in channel):
                for asked, receipt in author.receipts.values():
                    if receipt.expires_at > self._over():
                        assert told.get(receipt.seq) == asked.entry, "a stream passed over an entry"

    def _check_gone(self, authors: list[Author]) -> None:
        short = [
            pair for author in authors for pair in author.receipts.values() if pair[1].expires_at < time.time()
        ]
        deadline = time.monotonic() + 30
        while left := self.site.left([asked for asked, _ in short]):
            assert time.monotonic() < deadline, f"{len(left)} expired entries are still there"
            time.sleep(0.5)

    def _check_logs(self) -> None:
        told = "".join(self.site.logs)
        for device in (device for channel in self.channels for device in channel):
            for secret in (device.channel, device.device, device.token):
                assert secret.hex() not in told
                assert base64.urlsafe_b64encode(secret).decode().rstrip("=") not in told
        assert "asyncio" not in told, told  # nor anything that nobody expected: such things end there
        assert "Traceback" not in told, told


SITES: dict[str, type[Embedded] | type[Shared]] = {"sqlite": Embedded, "postgresql": Shared}


def run(seed: int, seconds: float, engine: str = "sqlite") -> tuple[int, Counter[str]]:
    """One run in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as root:
        return Run(seed, seconds, Path(root), SITES[engine]).go()
