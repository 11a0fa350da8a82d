"""Names that strangers chose, as a message may show them: a merchant's costs nobody more than a declined authorization."""

import re
import unicodedata

NAME_MAX = 60
_LONGEST = 400
# What a mail program or a telephone makes a link of: a scheme, an address, a domain.
_SCHEME = re.compile(
    r"[a-z][a-z0-9+.-]{0,20}:\s*[/\\]{2,}|\b(?:https?|ftps?|javascript|vbscript|data|blob|file|mailto|tel|sms|intent)\s*:",
    re.IGNORECASE,
)
_COLON = re.compile(r"(?<=[^\W\d]):(?=\S)")
_DOT = re.compile(r"(?<=\w)\.(?=[^\W\d_])")
_SLASHES = re.compile(r"/{2,}")
# Of links in Markdown, of tags and of templates; and quotation marks, which would end ours.
_TAKEN = str.maketrans(
    {**dict.fromkeys("[]<>{}|`\\", " "), **dict.fromkeys('"\u00ab\u00bb\u201c\u201d\u201e\u201f\u301d\u301e\u301f', "")}
)
# Shown as nothing, though Unicode calls them letters, marks or symbols.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0]")


def shown_name(text: str) -> str:
    """A stranger's name as a message may show it: no link, no control or unseen character, at most NAME_MAX characters.

    Digits stand as they are: the message's own quotation marks tell whose words they are. Empty when nothing is left.
    """
    # First, that full-width letters and dots are seen as what they are read as.
    text = unicodedata.normalize("NFKC", _BLANK.sub("", text[:_LONGEST]))
    text = "".join(_seen(char) for char in _BLANK.sub("", text)).translate(_TAKEN)
    # What stood around a scheme may be one when it is gone.
    while (plain := _SCHEME.sub(" ", text)) != text:
        text = plain
    text = _SLASHES.sub("/", _DOT.sub(". ", _COLON.sub(": ", text)))
    text = " ".join(text.split())
    return text if len(text) <= NAME_MAX else text[: NAME_MAX - 1].rstrip() + "\u2026"


def _seen(char: str) -> str:
    """The character; a space for one that ends a line or controls; nothing for one nobody sees, such as a zero-width space."""
    category = unicodedata.category(char)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "" if category.startswith("C") else char
