"""The largest file, 100 MiB, in constant memory: sent, fetched and saved by processes whose peak is measured."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pourparler_clients.files_testing import parts
from pourparler_clients.testing import Person
from pourparler_policies.limits import ATTACHMENT_CHUNK

LARGEST = 100 * 1024 * 1024
# A few chunks may be under way in buffers; a file that was held, even once, would be four hundred.
MOST = 24 * ATTACHMENT_CHUNK

CODE = """
import asyncio, json, sys
from pathlib import Path
from pourparler_clients.files_testing import files
from pourparler_clients.testing import Person

def peak():
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

async def main(what, vault, small, large):
    person = Person.open(Path(vault), "somebody")
    await person.sync()
    measured = []
    for number, path in enumerate((small, large)):
        if what == "attach":
            await person.channel.uploads.attach(Path(path))
        else:
            await person.channel.downloads.save(files(person)[number - 2].seq, Path(path))
        measured.append(peak())
    await person.close()
    print(json.dumps(measured[1] - measured[0]))

asyncio.run(main(*sys.argv[1:]))
"""


def grown(*arguments: str | Path) -> int:
    """How much the peak of a process grew by the large file, after the small one, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)], capture_output=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return int(json.loads(done.stdout))


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.slow
def test_the_largest_file_is_sent_fetched_and_saved_in_constant_memory(
    vaults: dict[str, Path], tmp_path: Path
) -> None:
    small, large, folder = tmp_path / "small.bin", tmp_path / "large.bin", tmp_path / "folder"
    folder.mkdir()
    small.write_bytes(os.urandom(32 * ATTACHMENT_CHUNK))
    with large.open("wb") as file:
        for _ in range(LARGEST // ATTACHMENT_CHUNK):
            file.write(os.urandom(64) + bytes(ATTACHMENT_CHUNK - 64))
    assert large.stat().st_size == LARGEST
    sent = grown("attach", vaults["ada"], small, large)
    fetched = grown("save", vaults["ben"], folder, folder)
    print(f"peak memory grew by {sent} bytes while sending, {fetched} while fetching")
    assert sent < MOST
    assert fetched < MOST
    assert [hashed(folder / path.name) == hashed(path) for path in (small, large)] == [True, True]

    async def left() -> list[Path]:
        people = [Person.open(path, name) for name, path in vaults.items()]
        found = [part for person in people for part in parts(person)]
        for person in people:
            await person.close()
        return found

    assert asyncio.run(left()) == []
