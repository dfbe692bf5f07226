"""The board in a real browser: Debian's Chromium, headless, with WebCrypto's own Ed25519.

Between browser and board stands a small server of the test, which passes everything on and may alter it: it is the
lying server of the tests below, and it puts a probe into pages that are measured.
"""

import contextlib
import html
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from pourparler_policies.wire import Route
from pourparler_service import boardpages
from pourparler_service.boardapi import STATIC
from pourparler_service.desktesting import (
    ENGLISH,
    PERSIAN,
    START,
    Clock,
    Signing,
    communique,
    keys,
    prepared,
    publish,
)
from pourparler_service.languages import RIGHT_TO_LEFT, SCRIPTS
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

Alter = Callable[[str, bytes], bytes]  # path and body, to another body


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


@pytest.fixture(scope="module")
def signing(client: httpx.Client, clock: Clock) -> Signing:
    found = prepared(3)
    publish(client, clock, found)
    return found


def browse(url: str, profile: Path, *flags: str) -> str:
    """The page as it stands when its scripts have come to rest, as HTML."""
    assert CHROMIUM
    told = subprocess.run(
        [
            CHROMIUM, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=20000",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            f"--user-data-dir={profile}", *flags, "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return told.stdout


@contextlib.contextmanager
def between(
    client: httpx.Client,
    alter: Alter = lambda _path, body: body,
    *,
    policy: bool = True,
    scripts: bool = True,
) -> Iterator[str]:
    """The board behind a server that alters what it passes on."""

    class Passing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(str(client.base_url).rstrip("/") + self.path)
            body = alter(self.path, answer.content)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "date", "server") and (
                    policy or name != "content-security-policy"
                ):
                    allowed = "script-src 'self'" if scripts else "script-src 'none'"
                    self.send_header(name, value.replace("script-src 'self'", allowed))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def place(signing: Signing) -> str:
    return Route.BOARD_PAGE.replace("{digest}", signing.texts[0].digest.hex())


def verdict(page: str) -> str:
    found = re.search(r'<p id="verdict"[^>]*>(.*?)</p>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def words(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'class="words">(.*?)</(?:p|h1)>', page, re.DOTALL)]


# --- verified by the browser, or readable without scripts ----------------------------------------------------------


def test_the_readers_browser_verifies_every_signature(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    told = browse(str(client.base_url).rstrip("/") + place(signing), tmp_path)
    assert verdict(told).startswith(
        "Checked in your browser just now: the words between the two marks above are signed by all 3 keys."
    )
    assert told.count("signature verified in your browser") == 3
    assert words(told) == (ENGLISH + "\n\n" + PERSIAN).split("\n\n")


def test_where_no_script_runs_the_page_is_readable_and_claims_nothing(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    # With scripting turned off altogether the browser could not be asked for what it shows; a policy does the same.
    with between(client, scripts=False) as url:
        told = browse(url + place(signing), tmp_path)
    assert words(told) == (ENGLISH + "\n\n" + PERSIAN).split("\n\n")
    assert verdict(told).startswith("Your browser has not checked the signatures.")
    assert "signature verified" not in told


def test_a_browser_without_ed25519_says_that_it_has_not_checked(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    # As an older browser answers (WebCrypto, 18.4.4).
    older = b"SubtleCrypto.prototype.importKey = async () => { throw new DOMException('', 'NotSupportedError') };"

    def alter(path: str, body: bytes) -> bytes:
        return older + b"\n" + body if path.endswith(".js") else body

    with between(client, alter) as url:
        told = browse(url + place(signing), tmp_path)
    assert "does not know Ed25519" in verdict(told)
    assert "signature verified" not in told


def test_a_note_that_cannot_be_loaded_leaves_the_page_unchecked(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    def alter(path: str, body: bytes) -> bytes:
        return body.replace(b'/note" data-digest', b'/nothing" data-digest') if path == place(signing) else body

    with between(client, alter) as url:
        told = browse(url + place(signing), tmp_path)
    assert verdict(told).startswith("Your browser has not checked the signatures: the note could not be loaded.")
    assert "signature verified" not in told


def replaced(where: str, old: bytes, new: bytes) -> Alter:
    def alter(path: str, body: bytes) -> bytes:
        if not path.endswith(where):
            return body
        assert old in body
        return body.replace(old, new, 1)

    return alter


LIES = {
    "another number on the page": ("", b"12 lists", b"13 lists"),
    "another language's words": ("", "دیدار کردند".encode(), "دیدار نکردند".encode()),
    "a paragraph too many": ("", b'<p class="words">They', b'<p class="words">More.</p><p class="words">They'),
    "a paragraph before the parts": ("", b'<section lang="en"', b'<p>More.</p><section lang="en"'),
    "bare words in a part": ("", b'<p class="words">They', b'More.<p class="words">They'),
    "a list in a part": ("", b'<p class="words">They', b'<ul><li>More.</li></ul><p class="words">They'),
    "an element in a paragraph": ("", b"12 lists", b"<del>12 lists</del>"),
    "a hidden paragraph": ("", b'<p class="words">They', b'<p class="words" hidden>They'),
    "the other direction": ("", b'lang="fa" dir="rtl"', b'lang="fa" dir="ltr"'),
    "a paragraph after the mark": ("", b"<article", b"<p>More.</p><article"),
    "bare words before the end": ("", b"</article>", b"</article>More."),
    "a second text with marks of its own": (
        "",
        b'<p class="edge" id="text-begins">',
        b'<p class="edge">Here begins the signed text.</p><article><p>More.</p></article>'
        b'<p class="edge" id="text-begins">',
    ),
    "a mark that says more": ("", b"Here begins", b"It was agreed to wait. Here begins"),
    "a name that did not sign": ("", b"<bdi>Southern League</bdi>", b"<bdi>Western League</bdi>"),
    "another text in the note": ("/note", b"12 lists", b"13 lists"),
    "a note without its last line": ("/note", b"void unless all have signed\n", b""),
    "a line that is no signature": ("/note", b"\n\xe2\x80\x94 party-3", b"\nparty-3"),
    "a note of nothing": ("/note", b"\npourparler-communique/v1\n", b"\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_shows_other_words_than_were_signed_is_noticed(
    client: httpx.Client, signing: Signing, tmp_path: Path, lie: str
) -> None:
    where, old, new = LIES[lie]
    with between(client, replaced(where or place(signing), old, new)) as url:
        page = browse(url + place(signing), tmp_path)
    assert verdict(page).startswith("DO NOT TRUST THIS PAGE: ")
    assert edges(page) == ["DO NOT TRUST WHAT FOLLOWS: the reason stands below.", boardpages.ENDS]
    assert "signature verified" not in page


def edges(page: str) -> list[str]:
    """What stands before and after the text."""
    found = [re.search(rf'<p[^>]* id="text-{end}"[^>]*>(.*?)</p>', page, re.DOTALL) for end in ("begins", "ends")]
    return [html.unescape(one[1]) if one else "" for one in found]


def test_marks_say_where_the_verified_text_begins_and_ends(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    plain = client.get(place(signing)).text
    assert edges(plain) == [boardpages.BEGINS, boardpages.ENDS]
    told = browse(str(client.base_url).rstrip("/") + place(signing), tmp_path)
    assert edges(told) == [
        "Verified in your browser: here begins the signed text.",
        "Here ends the signed text. All else on this page is the server's word.",
    ]
    between_them = told.partition(edges(told)[0])[2].partition(edges(told)[1])[0]
    assert between_them.count('class="part"') == 2
    assert words(between_them) == words(told)


def test_the_name_of_a_language_is_the_browsers_own(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    lie = replaced(place(signing), b">English</p>", b">Only the Persian words bind.</p>")
    with between(client, lie) as url:
        told = browse(url + place(signing), tmp_path)
    assert "Only the Persian words bind" not in told
    assert re.findall(r'class="language"[^>]*>(.*?)</p>', told) == ["English", "فارسی"]
    assert verdict(told).startswith("Checked in your browser just now")


def test_the_script_and_the_pages_know_the_same_languages_that_run_from_right_to_left() -> None:
    script = (STATIC / "verify.js").read_text()
    for name, known in (("RIGHT_TO_LEFT", RIGHT_TO_LEFT), ("SCRIPTS", SCRIPTS)):
        found = re.search(rf'const {name} = "([^"]*)"', script)
        assert found
        assert set(found[1].split(" ")) == known


def test_a_signature_that_does_not_verify_is_noticed(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    """Of another text of the same three keys: everything but the mathematics is right."""
    other = Signing(signing.keys, [communique(signing.keys, (ENGLISH + " Soon.", PERSIAN))])
    mine, others = signing.finished()[0].encode(), other.finished()[0].encode()
    line = mine.rstrip(b"\n").split(b"\n")[-1]
    with between(client, replaced("/note", line, others.rstrip(b"\n").split(b"\n")[-1])) as url:
        told = verdict(browse(url + place(signing), tmp_path))
    assert told == "DO NOT TRUST THIS PAGE: the signature of party-3.example/press does not verify."


def test_other_digits_than_those_of_the_key_are_noticed(
    client: httpx.Client, signing: Signing, tmp_path: Path
) -> None:
    digits = signing.texts[0].foot.signatories[1].key.digits.encode()
    other = (b"2" if digits[:1] == b"1" else b"1") + digits[1:]
    with between(client, replaced(place(signing), digits, other)) as url:
        told = verdict(browse(url + place(signing), tmp_path))
    assert told == "DO NOT TRUST THIS PAGE: this page shows another key or name than the text."


# --- hostile texts -------------------------------------------------------------------------------------------------

ATTACK = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"


@pytest.fixture(scope="module")
def hostile(client: httpx.Client, clock: Clock) -> Signing:
    clock.now = START
    signers = keys(2)
    found = Signing(signers, [communique(signers, ("A heading\n\n" + ATTACK,), ("en",))])
    publish(client, clock, found)
    return found


def unescaped(path: str, body: bytes) -> bytes:
    return (
        body if path.startswith(Route.BOARD + ".") else body.replace(html.escape(ATTACK).encode(), ATTACK.encode())
    )


def test_the_attack_works_where_nothing_is_escaped_and_no_policy_is_sent(
    client: httpx.Client, hostile: Signing, tmp_path: Path
) -> None:
    with between(client, unescaped, policy=False) as url:
        assert "<title>taken over</title>" in browse(url + place(hostile), tmp_path)


def test_escaping_alone_and_the_policy_alone_each_stop_it(
    client: httpx.Client, hostile: Signing, tmp_path: Path
) -> None:
    with between(client, policy=False) as url:
        told = browse(url + place(hostile), tmp_path / "1")
        assert "<title>A heading" in told
        assert verdict(told).startswith("Checked in your browser just now")
        assert words(told) == ["A heading", ATTACK]
    with between(client, unescaped) as url:
        assert "<title>A heading" in browse(url + place(hostile), tmp_path / "2")


# --- how it lies on the screen -------------------------------------------------------------------------------------

PROBE = """
addEventListener("load", () => {
  const box = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.right]; };
  const lines = (one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return Array.from(range.getClientRects(), (r) => [r.left, r.right]);
  };
  const parts = Array.from(document.querySelectorAll("section.part"), (part) => ({
    lang: part.lang, way: getComputedStyle(part).direction, box: box(part), first: lines(part.querySelector(".words")),
  }));
  const names = Array.from(document.querySelectorAll("bdi"), (one) => getComputedStyle(one).unicodeBidi);
  document.documentElement.dataset.probe = JSON.stringify({
    parts, names, wide: document.documentElement.scrollWidth, window: document.documentElement.clientWidth,
    loaded: performance.getEntriesByType("resource").map((one) => one.name),
  });
});
"""


def probed(path: str, body: bytes) -> bytes:
    return body + PROBE.encode() if path.endswith(".js") else body


@pytest.mark.parametrize("width", [500, 1200])
@pytest.mark.parametrize("languages", [("en", "fa"), ("fa", "en")])
def test_each_part_begins_at_the_side_of_its_language_and_nothing_sticks_out(
    client: httpx.Client, clock: Clock, tmp_path: Path, width: int, languages: tuple[str, str]
) -> None:
    clock.now, signers = START, keys(3)
    texts = {"en": ENGLISH, "fa": PERSIAN}
    signing = Signing(signers, [communique(signers, [texts[one] for one in languages], languages)])
    publish(client, clock, signing)
    with between(client, probed) as url:
        told = browse(url + place(signing), tmp_path, f"--window-size={width},900")
        found = re.search(r'data-probe="([^"]*)"', told)
        assert found
        seen = json.loads(html.unescape(found[1]))
        assert all(one.startswith(url + "/board") for one in seen["loaded"])
    assert seen["wide"] <= seen["window"]
    assert set(seen["names"]) == {"isolate"}
    assert [part["lang"] for part in seen["parts"]] == list(languages)
    for part in seen["parts"]:
        (left, right), first = part["box"], part["first"][0]
        assert part["way"] == ("rtl" if part["lang"] == "fa" else "ltr")
        if part["way"] == "rtl":
            assert abs(first[1] - right) < 2 < first[0] - left  # pixels: it begins at the right
        else:
            assert abs(first[0] - left) < 2 < right - first[1]
