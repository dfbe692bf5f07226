"""A grant that was stolen is ended by the operator; what was made with one stays."""

import argparse
import io
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from pourparler_policies.wire import Route
from pourparler_service.cli import add_commands
from pourparler_service.grants import issue_by, revoke
from pourparler_service.testing import (
    TestDevice,
    b64,
    bearer,
    command,
    environment,
    make_grant,
    problem,
    settings_of,
    where,
)


def create(client: httpx.Client, grant: bytes, device: TestDevice | None = None) -> httpx.Response:
    device = device or TestDevice(secrets.token_bytes(16))
    return client.post(Route.CHANNELS, content=device.create(), headers={**device.headers, **bearer(grant)})


class Told(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Told]


@pytest.fixture
def run(data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in this process: a new one takes seconds on a busy machine."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))

    def told(*options: str, said: str = "") -> Told:
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        try:
            args = parser.parse_args(["grant", *where(data), *options])
            status = args.func(args)
        except SystemExit as error:
            status = error.code
        return Told(status, *capsys.readouterr())

    return told


def test_the_command_as_it_is_typed(client: httpx.Client, data: Path) -> None:
    grant = make_grant(data)
    told = subprocess.run(
        command("grant", *where(data), "--revoke"),
        input=b64(grant) + "\n", capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "This grant opens no channel any more.\n"
    assert create(client, grant).status_code == 401


def test_a_stolen_grant_is_ended_while_the_service_runs_and_others_stay_good(
    client: httpx.Client, data: Path, run: Run
) -> None:
    stolen, other = issue_by(settings_of(data), 2)
    told = run("--revoke", said=b64(stolen) + "\n")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "This grant opens no channel any more.\n"
    answer = create(client, stolen)
    assert (answer.status_code, answer.content) == (401, create(client, secrets.token_bytes(32)).content)
    assert create(client, other).status_code == 201
    again = run("--revoke", said=b64(stolen) + "\n")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("There is no such grant")


def test_what_was_made_with_a_grant_stays_and_that_is_said(client: httpx.Client, data: Path, run: Run) -> None:
    (grant,) = issue_by(settings_of(data))
    device = TestDevice(secrets.token_bytes(16))
    create(client, grant, device).raise_for_status()
    told = run("--revoke", said=b64(grant))
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("This grant was used")
    assert device.page(client).status_code == 200
    assert create(client, grant, device).status_code == 201  # a founder that did not hear the answer may ask again
    assert problem(create(client, grant)) == "grant-used"


def test_all_that_were_not_used_are_ended_at_once(client: httpx.Client, data: Path, run: Run) -> None:
    run("--revoke-all")
    used, *left = issue_by(settings_of(data), 4, days=3)
    device = TestDevice(secrets.token_bytes(16))
    create(client, used, device).raise_for_status()
    told = run("--revoke-all")
    assert (told.returncode, told.stdout) == (0, "Unused grants that were ended: 3.\n")
    assert {create(client, grant).status_code for grant in left} == {401}
    assert device.page(client).status_code == 200


def test_what_is_no_grant_is_said_in_one_sentence_that_does_not_repeat_it(run: Run) -> None:
    for said in ("", "secret-that-is-no-grant\n", "x" * 5000):
        told = run("--revoke", said=said)
        assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)
        assert told.stderr.startswith("That is no grant")
        assert "secret" not in told.stderr
    assert run("--revoke", "--revoke-all").returncode == 2


def test_of_two_that_use_and_revoke_it_at_once_one_wins(client: httpx.Client, data: Path) -> None:
    import threading

    settings = settings_of(data)
    for _ in range(5):
        (grant,) = issue_by(settings)
        device, told = TestDevice(secrets.token_bytes(16)), []
        thread = threading.Thread(target=lambda g=grant, t=told: t.append(revoke(settings, g)))  # type: ignore[misc]
        thread.start()
        answer = create(client, grant, device)
        thread.join()
        assert (answer.status_code, told[0].name) in ((201, "USED"), (401, "ENDED"))
