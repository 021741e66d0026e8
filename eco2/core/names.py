"""Names that users choose: readable by others, and none that looks like a name of our staff."""

import re
import unicodedata

_BLANK_LETTERS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and symbols that show nothing, such as the fillers of Hangul."""
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_SCRIPTS = ("HANGUL", "LATIN", "CJK", "HIRAGANA", "KATAKANA")
"""Scripts whose letters a name may have: those that people on a Korean board can tell apart."""
_LOOK_ALIKES = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "$": "s", "@": "a", "!": "i", "|": "i"})
_STAFF_PARTS = (
    *("관리자", "운영자", "운영진", "운영팀", "관리팀", "고객센터", "이코에코"),
    *("admin", "moderator", "eco2", "ecoeco"),
)
_STAFF = ("공식", "공식계정", "스태프", "직원", "system", "staff", "official", "support", "operator", "root")


def cleaned(text: str) -> str:
    """The text composed (NFC), without characters that show nothing, white space in single blanks."""
    composed = unicodedata.normalize("NFC", text)
    shown = (" " if letter.isspace() else letter for letter in composed if not _shows_nothing(letter))
    return " ".join("".join(shown).split())


def _shows_nothing(letter: str) -> bool:
    """A line break is white space, not nothing."""
    if letter.isspace():
        return False
    return letter in _BLANK_LETTERS or unicodedata.category(letter) in _INVISIBLE


def is_plain(text: str) -> bool:
    """True when every character is visible and readable: no format or direction marks, and only letters of _SCRIPTS."""
    return not any(_shows_nothing(letter) for letter in text) and all(map(_is_readable, text))


def _is_readable(letter: str) -> bool:
    if not letter.isalpha():
        return True
    if not unicodedata.name(letter, "").startswith(_SCRIPTS):
        return False
    base = unicodedata.normalize("NFKD", letter)[0]
    return "LATIN" not in unicodedata.name(letter) or base.isascii()  # ı and ɑ are no i and a


def is_visible(text: str) -> bool:
    """True when there is anything to read: a letter, digit or symbol."""
    return any(unicodedata.category(letter)[0] in "LNS" and not _shows_nothing(letter) for letter in text)


def key(text: str) -> str:
    """Names with the same key look alike: without case, marks, white space and punctuation, digits as the letters that
    they stand for."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_LOOK_ALIKES)
    bare = (_bare(letter) for letter in folded)
    return re.sub(r"[\W_]+", "", "".join(bare)).replace("l", "i")


def _bare(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter)[0] if "LATIN" in unicodedata.name(letter, "") else letter


_STAFF_PART_KEYS = tuple(map(key, _STAFF_PARTS))
_STAFF_KEYS = frozenset(map(key, _STAFF))


def is_staff(text: str) -> bool:
    """True if readers may take the bearer of this name for staff of the platform."""
    found = key(text)
    return found in _STAFF_KEYS or any(part in found for part in _STAFF_PART_KEYS)
