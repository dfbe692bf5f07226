"""One engine, and one image of the checkout as it is, for all tests here."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import ROOT, STORE, Engine, why_not

CANARY = "CANARY-OF-A-PRIVATE-KEY"
PRIVATE = ("deploy/tls/key.pem", "deploy/settings.local.toml", "vault/home.vault", ".env", "service/notes.key")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    engine = Engine(Path(STORE) if STORE else tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the repository, and beside it what an operator may have lying about in it."""
    place = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    for name in PRIVATE:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(CANARY)
    return place


@pytest.fixture(scope="session")
def image(engine: Engine, checkout: Path) -> str:
    engine.build_service("pourparler", checkout)
    return "localhost/pourparler"
