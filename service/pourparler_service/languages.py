"""How a language is called by those who speak it, and which way it is written."""

from typing import Final

RIGHT_TO_LEFT: Final = frozenset(
    ("ar", "arc", "bal", "ckb", "dv", "fa", "glk", "he", "ks", "lrc", "mzn", "nqo", "pnb", "prs", "ps", "rhg", "sd",
     "syr", "ug", "ur", "yi")
)  # fmt: skip
SCRIPTS: Final = frozenset(
    ("Adlm", "Arab", "Aran", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa")
)
_NAMES: Final = {
    "am": "አማርኛ", "ar": "العربية", "az": "Azərbaycanca", "ckb": "کوردیی ناوەندی", "de": "Deutsch", "dv": "ދިވެހި",
    "el": "Ελληνικά", "en": "English", "es": "Español", "fa": "فارسی", "fr": "Français", "he": "עברית", "hi": "हिन्दी",
    "hy": "Հայերեն", "it": "Italiano", "ja": "日本語", "ka": "ქართული", "km": "ខ្មែរ", "ko": "한국어", "ku": "Kurdî",
    "my": "မြန်မာ", "ne": "नेपाली", "prs": "دری", "ps": "پښتو", "pt": "Português", "ru": "Русский", "si": "සිංහල",
    "so": "Soomaali", "sr": "Српски", "sw": "Kiswahili", "ta": "தமிழ்", "th": "ไทย", "ti": "ትግርኛ", "tr": "Türkçe",
    "ug": "ئۇيغۇرچە", "uk": "Українська", "ur": "اردو", "yi": "ייִדיש", "zh": "中文",
}  # fmt: skip


def direction(tag: str) -> str:
    """`rtl` or `ltr`, of a BCP 47 tag: its script decides where it names one."""
    language, *rest = tag.split("-")
    script = next((part for part in rest if len(part) == 4), None)
    if script is not None:
        return "rtl" if script in SCRIPTS else "ltr"
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def own_name(tag: str) -> str:
    """As its speakers call it, or the tag."""
    return _NAMES.get(tag, tag)
