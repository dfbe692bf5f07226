"""What `make walk-operator` does is what the operator's guide says: the walk takes its commands from the page."""

from .machine.guide import GUIDE, blocks, packages

TEXT = GUIDE.read_text()


def test_every_command_of_the_page_is_in_a_block_but_for_those_of_containers() -> None:
    told = [line for block in blocks(TEXT) for line in block.lines]
    before, _, containers = TEXT.partition("\n## In containers")
    rest = before + containers.partition("\n## ")[2]
    written = [line for piece in rest.split("```sh\n")[1:] for line in piece.partition("```")[0].splitlines()]
    assert told == [line for line in written if line.strip()]
    assert any("pip install --require-hashes" in line for line in told)


def test_what_the_page_installs_from_debian_lies_on_the_walked_disk() -> None:
    assert {"python3-venv", "nginx", "tor", "postgresql", "nats-server"} <= set(packages(blocks(TEXT)))
