"""What a name reads as: two names that a person takes for one are one here."""

from __future__ import annotations

import unicodedata

# Letters of other scripts, and marks of Latin, that are drawn as the Latin ones; case is folded already.
_DRAWN_AS = {
    "a": "аɑαᴀꭺ", "b": "ьвʙᏼ", "c": "сϲᴄⲥꮯᲃ", "d": "ԁᴅꭰⅾ", "e": "еєεᴇꭼҽⲉ", "f": "ғꜰϝẝ", "g": "ɡցɢԍᶃ", "h": "һнհʜꮋⲏ",
    "i": "іıιӏɪꭵⲓɩ", "j": "јϳյᴊꭻ", "k": "кκᴋⲕꮶ", "l": "ⅼʟⳑӏꮮ", "m": "мᴍⲙꮇ", "n": "пոռɴνⲛ", "o": "оοօᴏⲟഠ๐໐०০੦૦୦௦౦೦",
    "p": "рρᴘⲣꮲ", "q": "ԛգզ", "r": "гᴦʀꭱꮁⲅ", "s": "ѕꜱՏտʂꮪ", "t": "тτᴛⲧꭲ", "u": "υսᴜцʋ", "v": "ѵνᴠꮩ", "w": "ѡԝաᴡꮃω",
    "x": "хχⲭ᙮", "y": "уүγʏꭹყⲩ", "z": "ᴢꮓⲍ",
}  # fmt: skip
_LATIN = {ord(letter.casefold()): latin for latin, letters in reversed(_DRAWN_AS.items()) for letter in letters}
# Greek capitals that are drawn otherwise than their small letters; and the lunate sigma, which NFKC makes a plain one.
_CAPITALS = str.maketrans("ΒΕΖΗΜΝΡΥΧϹϲ", "bezhmnpyxcc")
# Printable by Python's word, and yet nothing is drawn: joiners, fillers, variation selectors, the blank of Braille; and
# the dot that a capital dotted I leaves behind.
_UNSEEN = dict.fromkeys(
    [0x307, 0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
     *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)  # fmt: skip


def reads_as(name: str) -> str:
    """Return one spelling for all names that read alike: without case, width, blanks around it, foreign look-alikes.

    A whole name of another script keeps what has no look-alike, and so reads as no Latin one.
    """
    plain = unicodedata.normalize("NFKC", name.translate(_CAPITALS)).translate(_CAPITALS)
    folded = unicodedata.normalize("NFKC", plain.casefold()).translate(_UNSEEN)
    return " ".join(folded.translate(_LATIN).split())
