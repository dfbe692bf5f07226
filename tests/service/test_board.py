"""The board: readable without scripts, nothing of it from elsewhere, and verifiable with tools that are not ours."""

import html
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from pourparler_crypto.note import Act, Communique, Note, Refused, Relation, verify
from pourparler_crypto.note.instants import instant_text
from pourparler_policies import limits, wire
from pourparler_policies.wire import Route, Sequel
from pourparler_service import boardpages
from pourparler_service.board import Entry
from pourparler_service.desktesting import (
    ENGLISH,
    PERSIAN,
    START,
    TERMS,
    Clock,
    Signing,
    communique,
    copies,
    keys,
    prepared,
    publish,
)
from pourparler_service.languages import direction
from pourparler_service.markup import Markup, element
from pourparler_service.settings import Settings
from pourparler_service.testing import problem, threaded

ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = (
    "<script>alert(1)</script> & \"quotes\" 'single' <img src=x onerror=alert(2)>\n\n"
    "</p></section></article><h1>Not signed by anybody</h1>\n\n"
    "]]></title></entry><entry> <!-- --> {{7*7}} ${7*7} &lt;b&gt; javascript:alert(3)"
)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[httpx.Client]:
    with (
        threaded(Settings(tmp_path_factory.mktemp("board"), clock=clock)) as url,
        httpx.Client(base_url=url, timeout=30) as one,
    ):
        yield one


def posted(client: httpx.Client, clock: Clock, *texts: Communique, signing: Signing | None = None) -> bytes:
    """Publish; returns the digest of the (first) text."""
    clock.now = START
    signing = signing or prepared(3)
    told = publish(client, clock, signing)
    assert told.board
    return told.board[0]


def at(route: Route, digest: bytes) -> str:
    return route.replace("{digest}", digest.hex())


def page(client: httpx.Client, digest: bytes) -> str:
    answer = client.get(at(Route.BOARD_PAGE, digest))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    answer.raise_for_status()
    return answer.text


class Elements(HTMLParser):
    """Every element with its attributes, and the text within the parts that were signed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str | None, str | None, list[str]]] = []
        self._in_words = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        if tag == "section" and attributes.get("class") == "part":
            self.words.append((attributes.get("lang"), attributes.get("dir"), []))
        if tag in ("p", "h1") and attributes.get("class") == "words":
            self._in_words = True
            self.words[-1][2].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "h1"):
            self._in_words = False

    def handle_data(self, data: str) -> None:
        if self._in_words:
            self.words[-1][2][-1] += data


# --- what is shown -------------------------------------------------------------------------------------------------


def test_each_language_stands_in_a_part_of_its_own_with_its_direction_and_exactly_its_words(
    client: httpx.Client, clock: Clock
) -> None:
    digest = posted(client, clock)
    words = Elements(page(client, digest)).words
    assert [(lang, way) for lang, way, _ in words] == [("en", "ltr"), ("fa", "rtl")]
    assert ["\n\n".join(paragraphs) for _, _, paragraphs in words] == [ENGLISH, PERSIAN]


@pytest.mark.parametrize(
    ("tag", "way"),
    [("fa", "rtl"), ("he", "rtl"), ("ur-PK", "rtl"), ("ckb", "rtl"), ("az-Arab", "rtl"), ("ug-Latn", "ltr"),
     ("en", "ltr"), ("ku", "ltr"), ("ff-Adlm", "rtl"), ("zh-Hant-TW", "ltr"), ("sr-Cyrl", "ltr")],
)  # fmt: skip
def test_the_script_decides_the_direction_and_else_the_language(tag: str, way: str) -> None:
    assert direction(tag) == way


def test_names_and_the_machine_lines_are_isolated_from_what_surrounds_them(
    client: httpx.Client, clock: Clock
) -> None:
    text = page(client, posted(client, clock))
    name = "شورای شرق"  # the third party of the kit
    assert text.count(name) >= 2
    assert text.count(name) == text.count(f"<bdi>{name}</bdi>")


def test_the_page_says_whose_word_a_name_is_and_gives_the_digits_of_each_key(
    client: httpx.Client, clock: Clock
) -> None:
    signing = prepared(3)
    text = html.unescape(page(client, posted(client, clock, signing=signing)))
    assert boardpages.VOUCHES in text
    for party in signing.texts[0].foot.signatories:
        assert party.key.digits in text
        assert str(party.key) in text
    assert "signed by the" not in text


def test_the_list_shows_the_newest_first_and_pages_back(client: httpx.Client, clock: Clock) -> None:
    digests = [posted(client, clock) for _ in range(2)]
    listed = wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content).posted
    assert [one.digest for one in listed[:2]] == digests[::-1]
    older = client.get(Route.BOARD_LIST, params={"before": listed[0].number}).json()["posted"]
    assert older[0]["number"] == listed[1].number
    text = client.get(Route.BOARD).text
    assert text.index(digests[1].hex()) < text.index(digests[0].hex())
    assert digests[1].hex() not in client.get(Route.BOARD, params={"before": listed[0].number}).text
    assert problem(client.get(Route.BOARD, params={"before": "x"})) == "malformed"


def test_a_long_list_has_pages(monkeypatch: pytest.MonkeyPatch, client: httpx.Client, clock: Clock) -> None:
    for _ in range(3):
        posted(client, clock, signing=prepared(2))
    monkeypatch.setattr(limits, "BOARD_PAGE", 2)
    first = wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content)
    assert (len(first.posted), first.more) == (2, True)
    link = re.search(r'href="(/board\?before=\d+)"', client.get(Route.BOARD).text)
    assert link
    assert str(first.posted[-1].number) in link[1]
    assert client.get(link[1]).status_code == 200


def test_the_note_is_served_exactly_as_plain_text_and_as_json(client: httpx.Client, clock: Clock) -> None:
    signing = prepared(3)
    digest = posted(client, clock, signing=signing)
    note = client.get(at(Route.BOARD_NOTE, digest))
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.content == signing.finished()[0].encode()
    told = wire.PostedNote.model_validate_json(client.get(at(Route.BOARD_ENTRY, digest)).content)
    assert told.note.encode() == note.content
    assert (told.title, told.languages, told.copies) == ("Joint communiqué", ["en", "fa"], 1)
    assert told.signatories == [party.name for party in signing.texts[0].foot.signatories]
    assert all(one.owner is None for one in verify(note.content))


def test_the_feed_is_atom_and_leads_to_the_pages(client: httpx.Client, clock: Clock) -> None:
    digest = posted(client, clock)
    answer = client.get(Route.BOARD_FEED)
    assert answer.headers["content-type"].startswith("application/atom+xml")
    root = ElementTree.fromstring(answer.content)
    space = {"a": "http://www.w3.org/2005/Atom"}
    assert root.tag == "{http://www.w3.org/2005/Atom}feed"
    for needed in ("a:id", "a:title", "a:updated"):  # RFC 4287, 4.1.1
        assert root.find(needed, space) is not None
    entry = root.findall("a:entry", space)[0]
    for needed in ("a:id", "a:title", "a:updated", "a:author/a:name"):  # 4.1.2
        assert entry.find(needed, space) is not None
    links = {one.get("rel"): one.get("href") for one in entry.findall("a:link", space)}
    assert client.get(str(links["alternate"])).status_code == 200
    assert client.get(str(links["enclosure"])).content.endswith(b"\n")
    assert links["alternate"] == at(Route.BOARD_PAGE, digest)
    ids = [one.text for one in root.iterfind(".//a:id", space)]
    assert len(set(ids)) == len(ids)


def test_where_nothing_is_people_get_a_page_and_programs_a_problem(client: httpx.Client) -> None:
    for missing in ("0" * 64, "nothing", "A" * 64):
        told = client.get(f"/board/{missing}")
        assert (told.status_code, told.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "There is no communiqué at this place" in told.text
        assert problem(client.get(f"/board/{missing}/note")) == "not-found"
        assert problem(client.get(f"/v1/board/{missing}")) == "not-found"


def test_head_is_answered_as_get_without_a_body_everywhere_on_the_board(
    client: httpx.Client, clock: Clock
) -> None:
    """Feed readers, caches and checkers of links ask so (RFC 9110, 9.3.2)."""
    digest = posted(client, clock)
    places = [at(route, digest) for route in Route if "/board" in route]
    assert len(places) == 8
    for place in [*places, f"/board/{'0' * 64}", f"/board/{'0' * 64}/note", f"{Route.BOARD_LIST}?before=nothing"]:
        told, got = client.head(place), client.get(place)
        assert (told.status_code, told.content) == (got.status_code, b""), place
        assert {k: v for k, v in told.headers.items() if k != "date"} == {
            k: v for k, v in got.headers.items() if k != "date"
        }
        assert client.get(place).content == got.content  # on the same connection: it is not out of step
    refused = client.post(Route.BOARD)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert client.head(Route.SERVICE).status_code == 405


def test_copies_lead_to_each_other(client: httpx.Client, clock: Clock) -> None:
    signers = keys(3)
    signing = Signing(signers, copies(signers))
    posted(client, clock, signing=signing)
    text = page(client, signing.texts[1].digest)
    assert "This is copy 2 of 3" in text
    for other in (signing.texts[0], signing.texts[2]):
        assert at(Route.BOARD_PAGE, other.digest) in text


# --- corrected, superseded, withdrawn ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "sequel", "word"),
    [
        (Act.CORRECTS, Sequel.CORRECTED, "Corrected"),
        (Act.SUPERSEDES, Sequel.SUPERSEDED, "Superseded"),
        (Act.WITHDRAWS, Sequel.WITHDRAWN, "Withdrawn"),
    ],
)
def test_a_later_communique_of_the_same_signatories_marks_the_earlier_one(
    client: httpx.Client, clock: Clock, act: Act, sequel: Sequel, word: str
) -> None:
    signing = prepared(3)
    first = posted(client, clock, signing=signing)
    relation = Relation(act, signing.texts[0].foot.release, first)
    later = Signing(signing.keys, [communique(signing.keys, relation=relation)])
    second = posted(client, clock, signing=later)
    told = wire.PostedNote.model_validate_json(client.get(at(Route.BOARD_ENTRY, first)).content)
    assert told.marks == [wire.BoardMark(sequel=sequel, digest=second)]
    shown = page(client, first)
    assert f"<strong>{word}</strong> by all who signed this" in shown
    assert at(Route.BOARD_PAGE, second) in shown
    assert at(Route.BOARD_PAGE, first) in page(client, second)
    listed = wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content).posted
    assert [one.marks for one in listed if one.digest == first] == [told.marks]
    assert word in client.get(Route.BOARD).text
    assert f"[{word}]" in client.get(Route.BOARD_FEED).text
    says_of_the_earlier(client, second, act, sequel, relation, marked=True)


def says_of_the_earlier(
    client: httpx.Client, later: bytes, act: Act, sequel: Sequel, relation: Relation, *, marked: bool
) -> None:
    """Page, list, feed and both JSON say the same of what a text does to an earlier one."""
    words = f"It {act.value} " if marked else f"It says that it {act.value} "
    expected = wire.BoardRelation(sequel=sequel, release=relation.release, digest=relation.digest, marked=marked)
    listed = wire.Board.model_validate_json(client.get(Route.BOARD_LIST).content).posted
    (one,) = [one for one in listed if one.digest == later]
    told = wire.PostedNote.model_validate_json(client.get(at(Route.BOARD_ENTRY, later)).content)
    assert one.relation == told.relation == expected
    link = f'{words}<a href="{at(Route.BOARD_PAGE, relation.digest)}">an earlier communiqué</a>'
    assert link in page(client, later)
    items = client.get(Route.BOARD).text.split("<li>")
    (item,) = [item for item in items if f'href="{at(Route.BOARD_PAGE, later)}" lang' in item]
    assert link in item
    entry = feed_entry(client, later)
    assert (entry.findtext(f"{ATOM}summary") or "").startswith(words + "an earlier communiqué")
    assert (entry.findtext(f"{ATOM}title") or "").startswith(
        f"[{act.value.capitalize()} an earlier one] "
    ) == marked
    related = [one.get("href") for one in entry.iter(f"{ATOM}link") if one.get("rel") == "related"]
    assert related == [at(Route.BOARD_PAGE, relation.digest)]


def test_nobody_marks_what_they_have_not_signed(client: httpx.Client, clock: Clock) -> None:
    """Anybody may write "withdraws: …" at the foot of a text of their own, or with most of those who signed."""
    signing = prepared(3)
    first = posted(client, clock, signing=signing)
    relation = Relation(Act.WITHDRAWS, signing.texts[0].foot.release, first)
    for signers in (keys(3), signing.keys[:2], [*signing.keys[:2], *keys(1)]):
        later = posted(client, clock, signing=Signing(signers, [communique(signers, relation=relation)]))
        says_of_the_earlier(client, later, Act.WITHDRAWS, Sequel.WITHDRAWN, relation, marked=False)
    other_text = Relation(Act.WITHDRAWS, signing.texts[0].foot.release, bytes(32))
    posted(client, clock, signing=Signing(signing.keys, [communique(signing.keys, relation=other_text)]))
    assert client.get(at(Route.BOARD_ENTRY, first)).json()["marks"] == []
    assert "Withdrawn" not in page(client, first)


def test_all_copies_are_marked_together(client: httpx.Client, clock: Clock) -> None:
    signers = keys(2)
    signing = Signing(signers, copies(signers))
    posted(client, clock, signing=signing)
    relation = Relation(Act.WITHDRAWS, signing.texts[0].foot.release, signing.texts[1].digest)
    posted(client, clock, signing=Signing(signers, [communique(signers, relation=relation)]))
    for text in signing.texts:
        assert "Withdrawn" in page(client, text.digest)


def test_a_mark_moves_the_time_by_which_feed_readers_see_that_something_changed(
    client: httpx.Client, clock: Clock
) -> None:
    signing = prepared(2)
    first = posted(client, clock, signing=signing)
    told = in_feed(client, first)
    relation = Relation(Act.WITHDRAWS, signing.texts[0].foot.release, first)
    later = replace(TERMS, not_before=TERMS.not_before + 500)
    second = Signing(signing.keys, [communique(signing.keys, relation=relation, terms=later)], later)
    posted(client, clock, signing=second)
    marked = in_feed(client, first)
    assert told["published"] == told["updated"] == marked["published"] == instant_text(TERMS.not_before)
    assert marked["updated"] == instant_text(later.not_before)
    assert in_feed(client, second.texts[0].digest)["updated"] == marked["updated"]


def in_feed(client: httpx.Client, digest: bytes) -> dict[str, str | None]:
    """The times that the feed gives for a text."""
    return {name: feed_entry(client, digest).findtext(f"{ATOM}{name}") for name in ("published", "updated")}


def feed_entry(client: httpx.Client, digest: bytes) -> ElementTree.Element:
    """The feed's entry of a text."""
    for entry in ElementTree.fromstring(client.get(Route.BOARD_FEED).content).iter(f"{ATOM}entry"):
        links = {link.get("rel"): link.get("href") for link in entry.iter(f"{ATOM}link")}
        if links["alternate"] == at(Route.BOARD_PAGE, digest):
            return entry
    raise AssertionError("not in the feed")


# --- hostile texts -------------------------------------------------------------------------------------------------


def test_the_attack_works_on_a_page_that_escapes_nothing() -> None:
    found = Elements(f"<section class=part><p class=words>{HOSTILE}</p></section>").found
    assert ("script", {}) in found
    assert any("onerror" in attributes for _, attributes in found)


def test_a_hostile_text_is_shown_as_it_was_signed_and_does_nothing(client: httpx.Client, clock: Clock) -> None:
    signers = keys(2)
    signing = Signing(signers, [communique(signers, (HOSTILE, "<b>هیچ</b>"))])
    digest = posted(client, clock, signing=signing)
    told = page(client, digest)
    elements = Elements(told)
    assert ["\n\n".join(parts) for _, _, parts in elements.words] == [HOSTILE, "<b>هیچ</b>"]
    assert [attributes.get("src") for tag, attributes in elements.found if tag == "script"] == [Route.BOARD_SCRIPT]
    assert not [tag for tag, _ in elements.found if tag in ("img", "iframe", "object", "base", "form", "svg")]
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    for text in (told, client.get(Route.BOARD).text):
        places = re.findall(r'(?:href|src)="([^"]*)"', text)
        assert places
        assert all(place.startswith("/board") for place in places)
    root = ElementTree.fromstring(client.get(Route.BOARD_FEED).content)
    titles = [one.text for one in root.iter("{http://www.w3.org/2005/Atom}title")]
    assert HOSTILE.split("\n", 1)[0][:40] in str(titles[1])


def test_a_hostile_name_is_shown_as_it_is(client: httpx.Client, clock: Clock) -> None:
    from dataclasses import replace

    signers = keys(2)
    text = communique(signers)
    name = '"><script>alert(1)</script><a href="https://evil.example'
    parties = (replace(text.foot.signatories[0], name=name), text.foot.signatories[1])
    signing = Signing(signers, [Communique(text.words, replace(text.foot, signatories=parties))])
    digest = posted(client, clock, signing=signing)
    for told in (page(client, digest), client.get(Route.BOARD).text):
        assert f"<bdi>{html.escape(name)}</bdi>" in told
        assert "evil.example" not in re.sub(r"<bdi>.*?</bdi>", "", told)


def test_what_could_deceive_a_reader_is_no_communique_at_all() -> None:
    signers = keys(2)
    for trick in ("pay \u202edaolyap", "a\u2066b", "null\x00", "bell\x07", "tag\U000e0041", "zero\u200bwidth"):
        with pytest.raises(Refused):
            communique(signers, (trick,), ("en",))


def test_an_element_escapes_whatever_is_not_markup() -> None:
    assert element("p", "<b>", title='"&', hidden=True) == '<p title="&quot;&amp;" hidden>&lt;b&gt;</p>'
    assert element("p", Markup("<b>")) == "<p><b></p>"
    assert element("br") + "<" == "<br/>&lt;"


# --- headers -------------------------------------------------------------------------------------------------------


def test_pages_load_nothing_from_elsewhere_and_say_so_to_the_browser(client: httpx.Client, clock: Clock) -> None:
    digest = posted(client, clock)
    for path in (
        Route.BOARD,
        Route.BOARD_FEED,
        Route.BOARD_STYLE,
        Route.BOARD_SCRIPT,
        Route.BOARD_LIST,
        at(Route.BOARD_PAGE, digest),
        at(Route.BOARD_NOTE, digest),
        at(Route.BOARD_ENTRY, digest),
        "/board/nothing",
    ):
        headers = client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {policy[one] for one in ("script-src", "style-src", "connect-src")} == {"'self'"}
        assert {policy[one] for one in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers
    # Nothing inline, which the policy would refuse: no style, no handler, no script with a body.
    text = page(client, digest)
    assert "style=" not in text
    assert "<style" not in text
    assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
    for file in (client.get(Route.BOARD_STYLE).text, client.get(Route.BOARD_SCRIPT).text):
        assert "http://" not in file
        assert "https://" not in file
        assert "url(" not in file
        assert "@import" not in file


# --- with other tools ----------------------------------------------------------------------------------------------


def printed(text: str) -> str:
    found = re.search(r'<pre dir="ltr" class="commands"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert found
    return html.unescape(found[1])


def run_printed(client: httpx.Client, digest: bytes, folder: Path, note: bytes | None = None) -> str:
    (folder / "communique.note").write_bytes(note or client.get(at(Route.BOARD_NOTE, digest)).content)
    told = subprocess.run(
        ["sh"],
        input=printed(page(client, digest)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return told.stdout + told.stderr


@pytest.mark.parametrize("count", [2, 5])
def test_the_printed_commands_work_as_they_stand(
    client: httpx.Client, clock: Clock, tmp_path: Path, count: int
) -> None:
    digest = posted(client, clock, signing=prepared(count))
    told = run_printed(client, digest, tmp_path)
    assert told.count("Signature Verified Successfully") == count, told
    assert f"appears {count} times" in page(client, digest)


def test_the_printed_commands_notice_one_changed_letter(
    client: httpx.Client, clock: Clock, tmp_path: Path
) -> None:
    digest = posted(client, clock, signing=prepared(2))
    note = client.get(at(Route.BOARD_NOTE, digest)).content
    told = run_printed(client, digest, tmp_path, note.replace(b"12 lists", b"13 lists"))
    assert "Signature Verified Successfully" not in told
    assert "Verification Failure" in told


def test_an_entry_without_its_note_tells_programs_what_the_list_tells() -> None:
    entry = Entry(1, bytes(32), bytes(16), 1, 1, "t", ("en",), ("a", "b"), TERMS.not_before, ())
    assert set(json.loads(entry.on_the_wire().model_dump_json())) == set(wire.Posted.model_fields)
    assert Note
