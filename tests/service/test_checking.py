"""Each wrong configuration is told in one sentence, without its secrets, before and when the service is started."""

import argparse
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pourparler_service import database
from pourparler_service.cli import add_commands
from pourparler_service.postgres.testing import SERVER, administer, databases
from pourparler_service.testing import CONFIG, ServerProcess, environment

Check = Callable[..., tuple[int, list[str]]]
NOTHING = "Nothing is wrong with these settings."


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """`pourparler serve --check`: its status, and what it says. Else than `--check`, it refuses before it serves."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    for name in environment():
        if name.startswith("POURPARLER_"):
            monkeypatch.delenv(name)

    def told(*options: str, command: str = "--check") -> tuple[int, list[str]]:
        port = () if "--port" in options else ("--port", "0")
        args = parser.parse_args(["serve", *([command] if command else []), *port, *options])
        status = args.func(args)
        said = capsys.readouterr()
        return status, (said.out + said.err).splitlines()

    return told


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


def test_a_port_that_is_taken_is_told(check: Check, private: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        for options in (("--port", port), ("--metrics-port", port)):
            status, said = check("--data", str(private), *options)
            assert (status, said) == (2, [f"Cannot listen on 127.0.0.1 port {port}: Address already in use."])
    assert check("--data", str(private)) == (0, [NOTHING])
    for port in ("70000", "-1"):
        assert check("--data", str(private), "--port", port) == (
            2,
            [f"A port lies between 0 and 65535, not {port}."],
        )


def test_a_configuration_that_everybody_can_read_is_told(check: Check, private: Path, tmp_path: Path) -> None:
    config = tmp_path / CONFIG
    config.write_text(f'data = "{private}"\n')
    config.chmod(0o644)
    status, said = check("--config", str(config))
    assert (status, said) == (
        2,
        [f"The configuration {config} can be read by everybody on this machine: chmod o= {config}."],
    )
    config.chmod(0o640)
    assert check("--config", str(config)) == (0, [NOTHING])


@pytest.mark.parametrize("where", ["pourparler:{}@127.0.0.1:1/none", "127.0.0.1:1/none?user=a&password={}"])
def test_a_password_among_the_options_is_told_and_not_repeated(check: Check, where: str) -> None:
    secret = secrets.token_hex(8)
    url = "postgresql://" + where.format(secret)
    status, said = check(
        "--database-url", url, "--outside-backups-url", "postgresql://pourparler@127.0.0.1:1/apart"
    )
    assert status == 2
    assert [line for line in said if line.startswith("The option --database-url has a password in it")]
    assert not [line for line in said if line.startswith("The option --outside-backups-url") or secret in line]


def test_a_name_in_the_environment_that_means_nothing_is_told(
    check: Check, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`deploy/settings.env` is read into it: a limit with a slip in its name would bind nobody."""
    monkeypatch.setenv("POURPARLER_LONGEST_LIVE", "60")
    status, said = check("--data", str(private))
    assert (status, said) == (2, ["The environment has POURPARLER_LONGEST_LIVE, which is no setting."])


def test_data_of_a_newer_version_are_left_alone(check: Check, private: Path) -> None:
    connection = database.connect(database.open_directory(private))
    database.migrate(connection)
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for command in ("--check", ""):
        status, said = check("--data", str(private), command=command)
        assert (status, len(said)) == (2, 1)
        assert said[0].startswith("These data are of a newer version of the service (form 9999)")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("log_statement", "mod"), ("log_min_duration_statement", "0"), ("log_parameter_max_length_on_error", "-1")],
)
def test_a_database_that_writes_down_what_people_do_is_told(
    check: Check, postgres: None, tmp_path: Path, setting: str, value: str
) -> None:
    with databases(tmp_path) as name:
        assert not [one for one in check("--config", str(tmp_path / CONFIG))[1] if setting in one]
        administer(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        told = [one for one in check("--config", str(tmp_path / CONFIG))[1] if setting in one]
    assert len(told) == 1
    assert told[0].startswith(f"The database notes who did what when ({setting} = ")


@pytest.fixture
def stranger(postgres: None) -> Iterator[str]:
    name = "pourparler_" + secrets.token_hex(6)
    administer(f"CREATE ROLE {name} LOGIN")
    yield name
    administer(f"DROP ROLE {name}")


def test_a_database_that_was_set_up_without_a_language_serves(
    postgres: None, tmp_path: Path, check: Check
) -> None:
    names = [f"pourparler_{secrets.token_hex(6)}{end}" for end in ("", "_apart")]
    try:
        for name in names:
            administer(
                f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        first, apart = (f"{SERVER}/{name}" for name in names)
        config = tmp_path / CONFIG
        config.write_text(f'database-url = "{first}"\noutside-backups-url = "{apart}"\n')
        config.chmod(0o600)
        _, told = check("--config", str(config))
        assert told
        assert not [line for line in told if "cannot be used" in line]
        server = ServerProcess(tmp_path)
        assert server.stop() == (0, "")
    finally:
        for name in names:
            administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_databases_that_cannot_be_used_are_told_and_no_password_is(
    check: Check, stranger: str, tmp_path: Path
) -> None:
    with databases(tmp_path) as name:
        host = SERVER.rpartition("@")[2]
        config = tmp_path / CONFIG
        for user, database_name, part in (
            (stranger, name, "may not make tables"),
            ("nobody_" + stranger, name, "does not exist"),
            (stranger, "none_" + name, "does not exist"),
        ):
            url = f"postgresql://{user}:swordfish@{host}/{database_name}"
            config.write_text(f'database-url = "{url}"\noutside-backups-url = "{url}_apart"\n')
            config.chmod(0o600)
            status, said = check("--config", str(config))
            assert status == 2
            assert [one for one in said if part in one]
            assert all(one.startswith(("The database", "Both")) and one.endswith(".") for one in said)
            started, told = check("--config", str(config), command="")
            assert (started, len(told)) == (2, 1)
            assert "swordfish" not in " ".join(said + told)
            assert told[0].startswith("PostgreSQL cannot be used: ")
