"""The closed list of reasons for which a text or a note is refused, each with its sentence for the person."""

from enum import Enum

from pourparler_crypto.errors import Malformed


class Refusal(Enum):
    """The value is the sentence: what is wrong and what to do."""

    # the bytes
    TOO_LARGE = "The text is larger than a communiqué may be: shorten it."
    NOT_UTF8 = "The bytes are not UTF-8 text: save the text as UTF-8."
    NOT_NFC = "A letter is put together from parts that have one code of their own: normalise the text (NFC)."
    NO_FINAL_NEWLINE = "The last line has no end: a part may be missing, ask for the file again."
    # characters
    CONTROL = "There is a control character, which has no meaning in a text: remove it."
    BIDI = (
        "There is an invisible character that changes the direction of writing: other words could be shown "
        "than are signed; remove it."
    )
    TAG = "There is an invisible tag character, which can hide words: remove it."
    WITHOUT_READING = "There is a character that shows nothing or has no agreed meaning: remove it."
    JOINER = "There is an invisible joiner where no script needs one: remove it."
    ZERO_WIDTH_SPACE = "There is an invisible space where no script needs one: remove it."
    SPACE = "There is an unusual kind of space, or a no-break space that holds nothing together: use a plain one."
    # the words and the foot
    NO_WORDS = "There are no words above the foot."
    BLANK_LINES = "Empty lines stand where none belong: at the beginning, at the end, or before the foot."
    SIGNATURE_IN_WORDS = "A line of the words looks like a signature: write it differently."
    SECTIONS = "The language headings do not match the languages that the foot names, in their order."
    NO_FOOT = "The lines at the foot that say what is signed, and by whom, are missing."
    FOOT = "A line at the foot is missing, one too many, in another place, or not written as it must be."
    LANGUAGES = "The languages at the foot are not language tags, or one stands there twice."
    SIGNATORIES = "The signatories are fewer than two or too many, or two share a name or a key."
    KEY = "A key is incomplete or was altered in copying: ask for it again."
    # the signature lines
    NO_SIGNATURES = "The note has no signatures."
    JUNK_LINE = "There is a line among the signatures that is none."
    UNKNOWN_KEY = "There is a signature of a key that the text does not name."
    DUPLICATE = "A key has two signature lines."
    ORDER = "The signatures do not stand in the order of the signatories."
    MISSING_SIGNATURE = "A signatory's signature is missing: the text is void unless all have signed."
    # texts that belong together
    PARALLEL = "These copies do not belong together: they differ in release, number, signatories or times."


class Refused(Malformed):
    """A text, note, key or book that is refused. `refusal` says why, `line` (from 1) where, when it is in one
    line.
    """

    def __init__(self, refusal: Refusal, line: int | None = None) -> None:
        super().__init__(refusal.value if line is None else f"Line {line}: {refusal.value}")
        self.refusal = refusal
        self.line = line
