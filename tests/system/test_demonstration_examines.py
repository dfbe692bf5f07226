"""What the demonstration says of the service's files: it finds what lies there, and it finds a key that was kept."""

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest

from pourparler_clients.demo.processes import DemoError, examined
from pourparler_clients.demo.story import still_opening
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House
from pourparler_policies.limits import DAY
from pourparler_service.grants import issue
from pourparler_service.halves import HalfStore


@pytest.mark.parametrize("kept", [False, True], ids=["destroyed", "kept"])
async def test_the_demonstration_tells_whether_the_service_kept_its_storage_keys(
    kept: bool, service: str, data: Path, hours: Hours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(service, lambda: issue(data)[0], tmp_path / "people")
    try:
        ada, _ = await house.room("ada", "ben")
        for text in ("The wells.", "The road."):
            await ada.say(text)
        sealed = {hashlib.sha256(one).digest() for one in ada.line.sealed[-2:]}
    finally:
        await house.close()
    before = Path(shutil.copytree(data, tmp_path / "before"))
    assert sealed <= examined(before, before)
    if kept:
        monkeypatch.setattr(HalfStore, "_destroy", lambda *_: None)
    hours.offset += 8 * DAY
    for _ in range(100):
        now = Path(shutil.copytree(data, tmp_path / "now", dirs_exist_ok=True))
        if not sealed & (examined(now, before) | (set() if kept else examined(before, now))):
            break
        await asyncio.sleep(0.1)
    said: list[str] = []
    count = still_opening(sealed, {"before": before, "now": now}, now, said.append)
    assert count == (2 if kept else 0)
    assert f"copied before, under every storage key that it still has: {count} of 2" in said[0]


def test_files_that_are_no_service_are_no_proof_that_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="could not be examined"):
        examined(tmp_path, tmp_path)
