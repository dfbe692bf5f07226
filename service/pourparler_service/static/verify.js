// Checks the communiqué on this page in the reader's browser: that the note's signatures verify under the keys which
// the text names, and that what stands between the two marks is what was signed and nothing else. It asks nobody but the server the page is from.
// What it cannot see: whether these keys belong to the parties, and whether this script itself was exchanged.
"use strict";

const FORMAT = "pourparler-communique/v1";
const RIGHT_TO_LEFT = "ar arc bal ckb dv fa glk he ks lrc mzn nqo pnb prs ps rhg sd syr ug ur yi".split(" ");
const SCRIPTS = "Adlm Arab Aran Hebr Mand Mend Nkoo Rohg Samr Syrc Thaa".split(" ");
const BEGINS = "Here begins the signed text.";
const ENDS = "Here ends the signed text.";

// Nothing was found wrong, and nothing was checked.
class Unchecked extends Error {}

function must(value, otherwise) {
  if (!value) throw new Error(otherwise);
  return value;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}

function joined(...parts) {
  const found = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (found.set(part, at), at + part.length), 0);
  return found;
}

async function sha256(data) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

function hex(data) {
  return Array.from(data, (one) => one.toString(16).padStart(2, "0")).join("");
}

function prefixed(data) {
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, data.length);
  return joined(size, data);
}

// The 30 digits of a key, as a party publishes them.
async function digitsOf(key) {
  const label = new TextEncoder().encode("pourparler/release-key/v1");
  const number = BigInt("0x" + hex(await sha256(joined(prefixed(label), prefixed(key))))) % 10n ** 30n;
  return number.toString().padStart(30, "0").replace(/(.{5})(?=.)/g, "$1 ");
}

// A signed note: the text, an empty line, one signature line a key (C2SP signed-note).
function takeApart(note) {
  const whole = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(note);
  const end = whole.lastIndexOf("\n\n");
  must(end >= 0 && whole.endsWith("\n"), "this is no signed note");
  const text = whole.slice(0, end + 1);
  const lines = text.split("\n");
  const start = lines.indexOf(FORMAT);
  must(start >= 2, "the lines at the foot are missing");
  const foot = lines.slice(start);
  const named = must(foot.find((line) => line.startsWith("languages: ")), "the lines at the foot are missing");
  const languages = named.slice(11).split(", ");
  const signatories = foot
    .map((line) => /^(?:signatory|witness): (([^+ ]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)) (.+)$/.exec(line))
    .filter((match) => match)
    .map(([, , name, id, key, party]) => ({ name, id, key: bytesOf(key).slice(1), party }));
  const signatures = whole
    .slice(end + 2, -1)
    .split("\n")
    .map((line) => must(/^\u2014 (\S+) ([A-Za-z0-9+/]+=*)$/.exec(line), "a line among the signatures is none"))
    .map((match) => ({ name: match[1], body: bytesOf(match[2]) }));
  const words = wordsOf(lines.slice(0, start - 1), languages);
  return { text: new TextEncoder().encode(text), languages, words, signatories, signatures };
}

function wordsOf(lines, languages) {
  if (languages.length === 1) return [lines.join("\n")];
  const headings = languages.map((language) => lines.indexOf("[" + language + "]"));
  return headings.map((heading, i) =>
    lines.slice(heading + 1, i + 1 < headings.length ? headings[i + 1] - 1 : lines.length).join("\n"));
}

async function verifies(signatory, signature, text) {
  const { name, key } = signatory;
  const id = (await sha256(joined(new TextEncoder().encode(name + "\n"), new Uint8Array([1]), key))).slice(0, 4);
  if (!signature || signature.name !== name || hex(signature.body.slice(0, 4)) !== hex(id) || signature.body.length !== 68)
    return false;
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature.body.slice(4), text);
}

function shownWords() {
  return Array.from(document.querySelectorAll("section.part"), (part) =>
    Array.from(part.querySelectorAll(".words"), (one) => one.textContent).join("\n\n"));
}

function made(name, attributes, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
}

function direction(language) {
  const [first, ...rest] = language.split("-");
  const script = rest.find((one) => one.length === 4);
  return (script ? SCRIPTS.includes(script) : RIGHT_TO_LEFT.includes(first)) ? "rtl" : "ltr";
}

// As its speakers call it, or the tag.
function ownName(language) {
  try {
    return new Intl.DisplayNames([language], { type: "language" }).of(language);
  } catch {
    return language;
  }
}

// The article as it has to be, made of the note alone. Only whether the first line is a heading is the page's choice.
function articleOf(note, heading) {
  return made("article", {}, ...note.languages.map((language, i) => {
    const [first, ...rest] = note.words[i].split("\n\n");
    return made("section", { lang: language, dir: direction(language), class: "part" },
      ...(note.languages.length > 1 ? [made("p", { class: "language" }, ownName(language))] : []),
      made(heading[i] ? "h1" : "p", { class: "words" }, first),
      ...rest.map((one) => made("p", { class: "words" }, one)));
  }));
}

// That nothing stands between the marks but what was signed, and that there are no other marks.
function checkShown(note) {
  const only = (selector, count = 1) => {
    const found = document.querySelectorAll(selector);
    must(found.length === count, "it shows text as signed that was not");
    return found[0];
  };
  const [article, begins, ends] = [only("article"), only("#text-begins"), only("#text-ends")];
  only(".edge", 2);
  // A language's name is no part of the note: it is the browser's word, not the server's.
  const names = Array.from(article.querySelectorAll(".part > .language:first-child"));
  names.forEach((one, i) => one.replaceChildren(ownName(note.languages[i] || "und")));
  const heading = Array.from(article.querySelectorAll(".part"), (part) => part.querySelector(".words")?.localName === "h1");
  must(begins.nextSibling === article && article.nextSibling === ends && article.parentNode.localName === "main" &&
    begins.isEqualNode(made("p", { class: "edge", id: "text-begins" }, BEGINS)) &&
    ends.isEqualNode(made("p", { class: "edge", id: "text-ends" }, ENDS)) &&
    article.isEqualNode(articleOf(note, heading)), "it shows text as signed that was not");
}

function mark(id, words, kind) {
  for (const one of document.querySelectorAll("#" + id)) {
    one.textContent = words;
    one.className = "edge " + kind;
  }
}

async function fetched(place) {
  try {
    const answer = await fetch(place, { credentials: "omit", cache: "no-store" });
    if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  } catch {
    // no connection: the same as no note
  }
  throw new Unchecked("the note could not be loaded");
}

async function check(verdict) {
  const note = takeApart(await fetched(verdict.dataset.note));
  const items = Array.from(document.querySelectorAll("ol.signatories > li"));
  if (hex(await sha256(note.text)) !== verdict.dataset.digest)
    throw new Error("the note has another text than this page names");
  const words = shownWords();
  if (words.length !== note.words.length || words.some((part, i) => part !== note.words[i]))
    throw new Error("the words on this page are not the words that were signed");
  checkShown(note);
  if (items.length !== note.signatories.length || note.signatures.length !== note.signatories.length)
    throw new Error("the signatures are not those of the signatories");
  for (const [i, signatory] of note.signatories.entries()) {
    const shown = items[i];
    if (shown.querySelector(".digits").textContent !== (await digitsOf(signatory.key)) ||
        shown.querySelector("bdi").textContent !== signatory.party)
      throw new Error("this page shows another key or name than the text");
    if (!(await verifies(signatory, note.signatures[i], note.text)))
      throw new Error("the signature of " + signatory.name + " does not verify");
  }
  for (const shown of items) {
    const line = shown.querySelector(".checked");
    line.textContent = "signature verified in your browser";
    line.hidden = false;
  }
  return items.length;
}

async function main() {
  const verdict = document.getElementById("verdict");
  if (!verdict) return;
  if (!globalThis.crypto || !crypto.subtle) {
    verdict.textContent = "Your browser has not checked the signatures: it does so only over a protected connection.";
    return;
  }
  try {
    const count = await check(verdict);
    mark("text-begins", "Verified in your browser: here begins the signed text.", "good");
    mark("text-ends", "Here ends the signed text. All else on this page is the server's word.", "good");
    verdict.className = "good";
    verdict.textContent =
      "Checked in your browser just now: the words between the two marks above are signed by all " + count + " keys. Whose keys these are, " +
      "only their digits tell you.";
  } catch (error) {
    const why = error.name === "NotSupportedError" ? "it does not know Ed25519" : error.message;
    if (error instanceof Unchecked || error.name === "NotSupportedError") {
      verdict.textContent = "Your browser has not checked the signatures: " + why + ". Check it yourself, see below.";
      return;
    }
    mark("text-begins", "DO NOT TRUST WHAT FOLLOWS: the reason stands below.", "bad");
    verdict.className = "bad";
    verdict.textContent = "DO NOT TRUST THIS PAGE: " + error.message + ".";
  }
}

main();
