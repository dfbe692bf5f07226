"""The board for people: a list, a page for each communiqué, a feed. Everything is readable without scripts.

Each language stands in a part of its own with its `lang` and `dir`; what may be written either way within another
text is isolated (`bdi`), so that no name turns its surroundings around.
"""

from collections.abc import Sequence
from typing import Final

from pourparler_crypto.note import Note, Role, Signatory
from pourparler_crypto.note.instants import instant_text
from pourparler_policies.wire import BoardMark, Route, Sequel

from .board import MAX_TITLE, Entry
from .languages import direction, own_name
from .markup import Markup, element, joined

_MARKS: Final = {
    Sequel.CORRECTED: "Corrected",
    Sequel.SUPERSEDED: "Superseded",
    Sequel.WITHDRAWN: "Withdrawn",
}
_RANK: Final = (Sequel.CORRECTED, Sequel.SUPERSEDED, Sequel.WITHDRAWN)
_ACTS: Final = {
    Sequel.CORRECTED: "corrects",
    Sequel.SUPERSEDED: "supersedes",
    Sequel.WITHDRAWN: "withdraws",
}
VOUCHES: Final = (
    "This board vouches for nobody. A text names its signatories itself, and anybody can make keys with any name: "
    "compare the digits of a key with those that the party has published elsewhere."
)
# The script compares these, and everything between them, with what it makes of the note.
BEGINS: Final = "Here begins the signed text."
ENDS: Final = "Here ends the signed text."
_ATOM: Final = "http://www.w3.org/2005/Atom"


def place(digest: bytes, route: Route = Route.BOARD_PAGE) -> str:
    """Where a communiqué is."""
    return route.value.replace("{digest}", digest.hex())


def _document(title: str, *body: str | Markup, script: bool = False) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("link", rel="stylesheet", href=Route.BOARD_STYLE.value),
        element(
            "link", rel="alternate", type="application/atom+xml", href=Route.BOARD_FEED.value, title="Communiqués"
        ),
        element("script", src=Route.BOARD_SCRIPT.value, defer=True) if script else None,
    )
    return "<!doctype html>\n" + element("html", head, element("body", *body), lang="en", dir="ltr") + "\n"


def _top(*, here: bool = False) -> Markup:
    name = (
        element("span", "Joint communiqués") if here else element("a", "Joint communiqués", href=Route.BOARD.value)
    )
    return element("header", element("nav", name, element("a", "Feed", href=Route.BOARD_FEED.value)), class_="top")


def _time(instant: int) -> Markup:
    said = instant_text(instant)
    return element("time", f"{said[:10]} {said[11:16]} UTC", datetime=said)


def mark_of(entry: Entry) -> BoardMark | None:
    """The gravest mark, the newest of its kind."""
    return max(entry.marks, key=lambda one: _RANK.index(one.sequel), default=None)


def index(entries: Sequence[Entry], more: bool) -> str:
    """The list, the newest first."""
    items = [_item(entry) for entry in entries]
    older = f"{Route.BOARD.value}?before={entries[-1].number}" if more else None
    return _document(
        "Joint communiqués",
        _top(here=True),
        element(
            "main",
            element("h1", "Joint communiqués"),
            element("p", "Each was published at once when every party that it names had signed it. ", VOUCHES),
            element("ol", *items, class_="list") if items else element("p", "Nothing has been published yet."),
            element("p", element("a", "Older communiqués", href=older, rel="next")) if older else None,
        ),
    )


def _item(entry: Entry) -> Markup:
    mark = mark_of(entry)
    language = entry.languages[0]
    copies = f", copy {entry.copy_number} of {entry.copies}" if entry.copies > 1 else ""
    return element(
        "li",
        element("p", _time(entry.published_at), copies, _badge(mark) if mark else None, class_="when"),
        element(
            "h2",
            element("a", entry.title, href=place(entry.digest), lang=language, dir=direction(language)),
            dir=direction(language),
        ),
        element("p", *_listed([element("bdi", name) for name in entry.signatories]), class_="who"),
        element("p", *_relation(entry), class_="when") if entry.relation else None,
    )


def _badge(mark: BoardMark) -> Markup:
    return element("strong", _MARKS[mark.sequel], class_="mark")


def _listed(parts: Sequence[Markup]) -> list[str | Markup]:
    found: list[str | Markup] = []
    for part in parts:
        found += [" · ", part] if found else [part]
    return found


def page(entry: Entry, note: Note) -> str:
    """One communiqué."""
    foot = note.communique.foot
    parts = [
        _part(language, words, shown=len(foot.languages) > 1)
        for language, words in zip(foot.languages, note.communique.words, strict=True)
    ]
    return _document(
        f"{entry.title} – joint communiqué",
        _top(),
        element(
            "main",
            *[_banner(mark) for mark in entry.marks],
            element("p", "Published ", _time(entry.published_at), ". ", *_relation(entry), class_="when"),
            element("p", BEGINS, class_="edge", id="text-begins"),
            element("article", *parts),
            element("p", ENDS, class_="edge", id="text-ends"),
            *_siblings(entry),
            element(
                "section",
                element("h2", "Signed by every one of these"),
                element("ol", *[_signatory(one) for one in foot.signatories], class_="signatories"),
                element("p", VOUCHES, class_="vouches"),
                element(
                    "p",
                    "Your browser has not checked the signatures. Where scripts run it does; you can do it yourself "
                    "as well, see below.",
                    id="verdict",
                    role="status",
                    data_note=place(entry.digest, Route.BOARD_NOTE),
                    data_digest=entry.digest.hex(),
                ),
            ),
            element(
                "section",
                element("h2", "What a machine reads"),
                element("pre", *_lines(foot.lines), dir="ltr", class_="foot"),
                element("p", "SHA-256 of the text: ", element("code", entry.digest.hex()), class_="digest"),
            ),
            _instructions(entry, note),
        ),
        script=True,
    )


def _part(language: str, words: str, *, shown: bool) -> Markup:
    """The words, exactly: paragraphs lie between empty lines, and a short first line alone is the heading."""
    name = element("p", own_name(language), class_="language") if shown else None
    first, *rest = words.split("\n\n")
    heading = "h1" if rest and len(first) <= MAX_TITLE and "\n" not in first else "p"
    return element(
        "section",
        name,
        element(heading, first, class_="words"),
        *[element("p", one, class_="words") for one in rest],
        lang=language,
        dir=direction(language),
        class_="part",
    )


def _banner(mark: BoardMark) -> Markup:
    return element(
        "p",
        element("strong", _MARKS[mark.sequel]),
        " by all who signed this: read ",
        element("a", "the later communiqué", href=place(mark.digest)),
        ".",
        class_="banner",
    )


def _said(entry: Entry) -> tuple[str, str]:
    """What it says of an earlier one, without that one's name: what comes before it and after it."""
    relation = entry.relation
    if relation is None:
        return "", ""
    act = _ACTS[relation.sequel]
    if relation.marked:
        return f"It {act} ", "."
    why = "it is not on this board, or not all who signed it have signed this"
    return f"It says that it {act} ", f", which bears no such mark here: {why}."


def _relation(entry: Entry) -> list[str | Markup]:
    if entry.relation is None:
        return []
    before, after = _said(entry)
    return [before, element("a", "an earlier communiqué", href=place(entry.relation.digest)), after]


def _siblings(entry: Entry) -> list[Markup]:
    others = [one for one in entry.siblings if one[1] != entry.digest]
    if not others:
        return []
    links = [element("a", f"copy {number} of {entry.copies}", href=place(digest)) for number, digest in others]
    said = f"This is copy {entry.copy_number} of {entry.copies}, completed together with "
    return [element("p", said, *_listed(links), ".")]


def _signatory(party: Signatory) -> Markup:
    witness = " (witness)" if party.role is Role.WITNESS else None
    return element(
        "li",
        element("p", "The text calls it “", element("bdi", party.name), "”", witness, class_="name"),
        element("p", "key ", element("code", party.key.name, dir="ltr"), class_="key"),
        element("p", "digits ", element("code", party.key.digits, dir="ltr", class_="digits")),
        element("p", class_="checked", hidden=True),
    )


def _lines(lines: Sequence[str]) -> list[str | Markup]:
    found: list[str | Markup] = []
    for line in lines:
        key, _, name = line.rpartition(" ")
        if line.startswith(("signatory: ", "witness: ")):
            key, name = line.split(" ", 2)[0] + " " + line.split(" ", 2)[1], line.split(" ", 2)[2]
            found += [key + " ", element("bdi", name), "\n"]
        else:
            found += [line, "\n"]
    return found


def commands(note: Note) -> str:
    """Lines for a shell that verify a note saved as `communique.note`, with OpenSSL 3 and nothing of ours."""
    lines = note.communique.text.count(b"\n")
    told = [f"head -n {lines} communique.note > communique.txt"]
    for number, party in enumerate(note.communique.foot.signatories):
        told += [
            "",
            f"KEY='{party.key}'",
            r"{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'",
            r"""  printf '%s' "$KEY" | cut -d+ -f3- | openssl base64 -d -A | tail -c 32; } > key.der""",
            f"sed -n {lines + 2 + number}p communique.note | cut -d' ' -f3 |"
            " openssl base64 -d -A | tail -c 64 > signature",
            "openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in communique.txt -sigfile signature",
        ]
    return "\n".join(told) + "\n"


def _instructions(entry: Entry, note: Note) -> Markup:
    count = len(note.communique.foot.signatories)
    return element(
        "section",
        element("h2", "Check it yourself"),
        element(
            "p",
            "A server that lies about a text can lie in its page as well. So save ",
            element("a", "the note", href=place(entry.digest, Route.BOARD_NOTE), download="communique.note"),
            " as ",
            element("code", "communique.note"),
            ", and check it on a computer of yours: with ",
            element("code", "pourparler verify communique.note"),
            ", or with OpenSSL 3 and these lines. Put in place of each KEY what that party has published elsewhere.",
        ),
        element("pre", commands(note), dir="ltr", class_="commands", tabindex="0"),
        element(
            "p",
            f"It is signed if “Signature Verified Successfully” appears {count} times. If one is missing the text "
            "is void, whatever the others say.",
        ),
        class_="check",
    )


def missing() -> str:
    """For a place where nothing is."""
    return _document(
        "Not on this board",
        _top(),
        element(
            "main",
            element("h1", "There is no communiqué at this place"),
            element("p", "The address may be incomplete. ", element("a", "See the list.", href=Route.BOARD.value)),
        ),
    )


def feed(entries: Sequence[Entry], board: bytes) -> str:
    """Atom (RFC 4287). Addresses are relative: the service does not know under which name it is read.

    board   at least 16 bytes that name this board
    """
    updated = max((entry.published_at for entry in entries), default=0)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + element(
        "feed",
        element("title", "Joint communiqués"),
        element("id", f"urn:uuid:{_uuid(board)}"),
        element("updated", instant_text(updated)),
        element("link", rel="self", href=Route.BOARD_FEED.value),
        element("link", rel="alternate", type="text/html", href=Route.BOARD.value),
        *[_atom(entry) for entry in entries],
        xmlns=_ATOM,
    )


def _atom(entry: Entry) -> Markup:
    mark = mark_of(entry)
    title = f"[{_MARKS[mark.sequel]}] {entry.title}" if mark else entry.title
    relation = entry.relation
    if relation is not None and relation.marked:
        title = f"[{_ACTS[relation.sequel].capitalize()} an earlier one] {title}"
    said = "an earlier communiqué".join(_said(entry)) + " " if relation else ""
    return element(
        "entry",
        joined(Markup(f'<title xml:lang="{entry.languages[0]}">'), title, Markup("</title>")),
        element("id", f"urn:uuid:{_uuid(entry.digest)}"),
        element("published", instant_text(entry.published_at)),
        # RFC 4287, 4.2.15: a reader shows an entry again only when this moves, and a withdrawal has to be seen.
        element("updated", instant_text(max(entry.published_at, entry.marked_at))),
        *[element("author", element("name", name)) for name in entry.signatories],
        element("link", rel="alternate", type="text/html", href=place(entry.digest)),
        element("link", rel="enclosure", type="text/plain", href=place(entry.digest, Route.BOARD_NOTE)),
        element("link", rel="related", type="text/html", href=place(relation.digest)) if relation else None,
        element("summary", f"{said}Names are as the text gives them. SHA-256 of the text: {entry.digest.hex()}"),
    )


def _uuid(digest: bytes) -> str:
    """Version 8 (RFC 9562, 5.8), of a digest's first 16 bytes."""
    text = bytearray(digest[:16])
    text[6], text[8] = text[6] & 0x0F | 0x80, text[8] & 0x3F | 0x80
    found = text.hex()
    return "-".join((found[:8], found[8:12], found[12:16], found[16:20], found[20:]))
