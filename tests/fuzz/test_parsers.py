"""Whatever bytes come from outside, a parser makes something of them or refuses: no other error, no endless work.

The corpus holds what parsers were given in real runs (`make fuzz-corpus`), and what once broke one. `make fuzz`
searches with a fuzzer that sees which branches were taken; here hypothesis alters the corpus.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .parsers import Parser, parsers

CORPUS = Path(__file__).parent / "corpus"
PARSERS = parsers()
INTERESTING = (
    b"",
    b"\x00",
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"{",
    b"[" * 2000,
    b"\n\n",
    b"\xed\xa0\x80",
)


def samples(parser: Parser) -> list[bytes]:
    return [one.read_bytes() for one in sorted((CORPUS / parser.name).glob("*"))]


@st.composite
def altered(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sample that was cut, spliced, repeated or changed in some places."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 5)):
            case 0 if data:
                data[at % len(data)] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + draw(st.integers(1, 16))]
            case 3:
                data[at:at] = draw(st.sampled_from(INTERESTING) | st.binary(max_size=12))
            case 4:
                data[at : at + 8] = draw(st.sampled_from(INTERESTING))
            case _:
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda one: one.name)
def test_whatever_comes_is_understood_or_refused(parser: Parser) -> None:
    seeds = samples(parser) or [b""]
    for seed in seeds:
        parser(seed)

    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(altered(seeds) | st.binary(max_size=64))
    def tried(data: bytes) -> None:
        parser(data)

    tried()


def test_the_corpus_belongs_to_parsers_that_there_are_and_most_parsers_have_some() -> None:
    names = {parser.name for parser in PARSERS}
    kept = {folder.name for folder in CORPUS.iterdir()}
    assert kept <= names
    assert len(kept) >= 0.75 * len(names)
    assert len(names) > 50
