"""Characters that people take for another one.

The table has the usual ones of Unicode's own list of confusables (UTS 39), and is short on
purpose: all it decides is whether a rule that stops a call stops this one too.
"""

from unicodedata import category, normalize

_CYRILLIC = ("авгеёзіїјкмнорѕстухцһԁԛԝьѵӏ", "abree3iijkmhopsctyxuhdqwbvl")
_GREEK = ("αβγεζηικνορτυχω", "abyeznikvoptuxw")
_ARMENIAN = ("աեհոսօցզլ", "uehnuogqi")
_LATIN = ("ıɩɑɡɢʟɴʀꜱʏʙʜᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢƅɗɦłøđħŧ", "iiagglnrsybhacdejkmoptuvwzbdhlodht")
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u4e00"

_ALONE = str.maketrans(
    {
        **{
            letter: plain
            for letters, plains in (_CYRILLIC, _GREEK, _ARMENIAN, _LATIN)
            for letter, plain in zip(letters, plains, strict=True)
        },
        **dict.fromkeys(_DASHES, "-"),
    }
)
_STROKES = str.maketrans({"1": "l", "i": "l", "|": "l", "0": "o"})
"""Only once the letters are Latin: a capital I, which hosts allow, passes for a small l."""

_PAIRS = (("rn", "m"), ("vv", "w"))


def bones(text: str) -> str:
    """What is left of a text where characters that look alike are one and marks are gone."""
    apart = normalize("NFKD", normalize("NFKC", text).casefold())
    bare = "".join(each for each in apart if category(each) not in ("Mn", "Cf", "Cc"))
    latin = bare.translate(_ALONE).translate(_STROKES)
    for pair, single in _PAIRS:
        latin = latin.replace(pair, single)
    return latin
