"""Keys by which places are found by name: letters (jamo) for parts and typing errors, first consonants, a plain key."""

import re
import unicodedata

from eco2.knowledge.words import text

_SIGNS = re.compile(r"[^0-9a-z가-힣ㄱ-ㅎㅏ-ㅣ]")
_SYLLABLES = range(ord("가"), ord("힣") + 1)
_JAMO = {code: text.jamo(chr(code)) for code in _SYLLABLES}
_INITIALS = {code: text.initials(chr(code)) for code in _SYLLABLES}


def key(name: str) -> str:
    """Without spaces and signs, in small letters; syllables that came as single letters (NFD) are put together."""
    return _SIGNS.sub("", unicodedata.normalize("NFC", name).lower())


def letters(plain: str) -> str:
    """The letters that the syllables of a key are typed with; an unfinished syllable is a part of the finished one."""
    return plain.translate(_JAMO)


def initials(plain: str) -> str:
    return plain.translate(_INITIALS)


def is_initials(plain: str) -> bool:
    return text.is_initials(plain)
