"""The list of every rule for `docs/charter.md`, made from the schema; a test compares them."""

from dataclasses import replace

from . import schema
from .questionnaire import questions

_SECTIONS = ("parties", "intermediaries", "cards", "reporting")
_IN_TOML = {
    "yes or no": "`true` or `false`",
    "yes": "`true`",
    "language tags: en, ar, sr-Cyrl, pt-BR": '`["en", "ar", "sr-Cyrl", "pt-BR"]`',
}
_MARKS = ("<!-- keys -->", "<!-- end -->")


def keys() -> str:
    """Every key with its default, as Markdown."""
    rows = ["| rule | what it says | what to write | if left out |", "| --- | --- | --- | --- |"]
    found = questions() + [
        replace(question, key=f"{section}.{question.key}")
        for section in _SECTIONS
        for question in questions(section)
    ]
    optional = {
        f"{section}.{key.name}" for section, keys in schema.SECTIONS.items() for key in keys if key.default == 0
    }
    for question in found:
        default = "no such rule" if question.key in optional and question.default == "0" else question.default
        otherwise = f"`{default}`" if default else "an error"
        hint = _IN_TOML.get(question.hint, question.hint) or "text"
        rows.append(f"| `{question.key}` | {question.text} | {hint} | {otherwise} |")
    return "\n".join(rows)


def fill(text: str) -> str:
    """The guide with its list of keys as the code has it."""
    before, start, rest = text.partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    return f"{before}{start}\n{keys()}\n{end}{after}" if start and end else text
