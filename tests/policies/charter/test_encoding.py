"""A charter travels in one encoding: what is not byte for byte that of a charter without errors is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter import CharterErrors, decode, parse
from pourparler_policies.charter.rules import MAX_CHARTER
from pourparler_policies.charter.testing import text

GOOD = parse(text()).encode()


def changed(change: Callable[[Any], Any]) -> bytes:
    """The encoding of a document that `change` has altered, in the same form."""
    document = json.loads(GOOD)
    change(document)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def test_a_charter_comes_back_alike_and_the_form_of_the_cases_below_is_its_form() -> None:
    assert decode(GOOD).encode() == GOOD
    assert changed(lambda document: None) == GOOD
    assert decode(changed(lambda document: document.update(title="Sea talks"))).title == "Sea talks"


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"null", b"7", b"\xff", b"[" * 60_000, b'{"a":' * 20_000, b"9" * 10_000),
        *(GOOD + b" ", b" " + GOOD, GOOD[:-1], GOOD + GOOD, GOOD.replace(b",", b", ", 1)),
        GOOD.replace(b'"charter":1', b'"charter":1,"charter":1'),
        GOOD.replace(b'"charter":1', b'"charter":1.0'),
        GOOD.replace(b'"charter":1', b'"charter":true'),
        GOOD.replace(b"Lake talks", b"Lake\\u0020talks"),
        GOOD + b"#" * MAX_CHARTER,
        text().encode(),
        changed(lambda document: document.update(charter=2)),
        changed(lambda document: document.update(more=1)),
        changed(lambda document: document.pop("title")),
        changed(lambda document: document.update(title=" Lake talks")),
        changed(lambda document: document.update(title="Lake\u202e talks")),
        changed(lambda document: document.update(title="")),
        changed(lambda document: document["retention"].update(messages=0)),
        changed(lambda document: document["retention"].update(messages=61)),
        changed(lambda document: document["retention"].update(messages=-60)),
        changed(lambda document: document["retention"].update(messages=10**30)),
        changed(lambda document: document["retention"].update(messages="7 days")),
        changed(lambda document: document["retention"].update(messages=[7])),
        changed(lambda document: document["parties"].popitem()),
        changed(lambda document: document["parties"]["a"].update(decides=9)),
        changed(lambda document: document["parties"]["a"].update(decides=[1])),
        changed(lambda document: document["parties"]["a"].update(cards=7)),
        changed(lambda document: document["parties"]["a"]["cards"].append(document["parties"]["a"]["cards"][0])),
        changed(lambda document: document["parties"]["a"]["cards"].reverse()),
        changed(lambda document: document["parties"]["a"]["cards"][0].update(fingerprint="00")),
        changed(lambda document: document.update(parties=[])),
        changed(lambda document: document.update(retention=None)),
    ],
)
def test_what_is_not_the_one_encoding_of_a_charter_without_errors_is_refused(data: bytes) -> None:
    with pytest.raises(CharterErrors):
        decode(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_alteration_of_the_encoding_raises_anything_else_or_reads_alike(data: st.DataObject) -> None:
    altered = bytearray(GOOD)
    place = data.draw(st.integers(0, len(altered) - 1))
    altered[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        charter = decode(bytes(altered))
    except CharterErrors:
        return
    assert charter.encode() == bytes(altered)
    assert (charter == decode(GOOD)) == (bytes(altered) == GOOD)
