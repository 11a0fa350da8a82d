"""URLs we post to."""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote_plus, urlsplit

from cardwright.kernel.errors import FieldError
from cardwright.kernel.secret import holds_card_number

URL_LENGTH_MAX = 2048

_PORTS = frozenset({None, 443, 8443})
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Names that never lead to the public Internet (RFC 6761, RFC 6762, RFC 7686, RFC 8375, ICANN resolution on .internal).
_PRIVATE_SUFFIXES = frozenset("localhost local internal invalid onion".split())
_URL_DETAILS = {
    "url_invalid": f"A URL is ASCII without spaces, backslashes or fragment, at most {URL_LENGTH_MAX} characters.",
    "url_not_https": "A webhook URL starts with https://.",
    "url_has_credentials": "A webhook URL holds no user name or password.",
    "url_host_not_allowed": "The host is a public DNS name, written in ASCII.",
    "url_port_not_allowed": "The port is 443 or 8443.",
    "url_is_ours": "A webhook URL does not lead to this platform itself.",
    # URLs are kept and shown as they are (PCI DSS 3.4.1).
    "card_number_not_allowed": "A card number must not be written here.",
}
# A number of the length and beginning of a card's that stands by itself. Longer ones, and digits inside an id, are what
# others' webhook URLs are made of.
_CARD_NUMBER = re.compile(
    r"(?<![0-9A-Za-z-])(?:[2-6][0-9]{3}([ +/-]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}|"
    r"3[47][0-9]{2}([ +/-]?)[0-9]{6}\2[0-9]{5})(?![0-9A-Za-z-])",
    re.ASCII,
)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)


def check_url(url: str, *, local: bool, ours: Iterable[str] = ()) -> FieldError | None:
    """Why we would not post to this URL, or None. On the local stage this machine is allowed, over http and at any port.

    Only plain DNS names are taken: no addresses, no other alphabets, no user info. Names that lead to private addresses
    are found when we connect. `ours` are URLs of our own: posts to their hosts and ports would come back to us.
    """
    code = "url_invalid"
    if 1 <= len(url) <= URL_LENGTH_MAX and _PRINTABLE.fullmatch(url) and "\\" not in url and "#" not in url:
        try:
            parts = urlsplit(url)
            code = _url_code(parts, parts.port, local)
            if not code and any(_place(parts) == _place(urlsplit(one)) for one in ours):
                code = "url_is_ours"
            if not code and _holds_card_number(parts):
                code = "card_number_not_allowed"
        except ValueError:
            code = "url_invalid"
    return FieldError("url", code, _URL_DETAILS[code]) if code else None


def _url_code(parts: SplitResult, port: int | None, local: bool) -> str:
    host = _host(parts)
    ours = local and host in _LOOPBACK_HOSTS
    allowed_schemes = ("https", "http") if ours else ("https",)
    if parts.scheme not in allowed_schemes or not parts.netloc:
        return "url_not_https"
    if "@" in parts.netloc:
        return "url_has_credentials"
    if not ours and (not _HOST.fullmatch(host) or len(host) > 253 or host.rpartition(".")[2] in _PRIVATE_SUFFIXES):
        return "url_host_not_allowed"
    if parts.netloc.endswith(":") or port == 0 or not (ours or port in _PORTS):
        return "url_port_not_allowed"
    return ""


def shown_host(url: str) -> str:
    """The host of a URL that was taken. The rest of it is the subscriber's own and may be what lets one in."""
    return _host(urlsplit(url))


def _holds_card_number(parts: SplitResult) -> bool:
    # The port stands apart: its digits would join those around it.
    said = f"{parts.path}?{parts.query}"
    texts = (_host(parts), said, unquote_plus(said))
    return any(holds_card_number(found.group()) for text in texts for found in _CARD_NUMBER.finditer(text))


def _host(parts: SplitResult) -> str:
    host = parts.netloc.lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _place(parts: SplitResult) -> tuple[str, int]:
    host = _host(parts)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return "localhost" if host in _LOOPBACK_HOSTS else host, port
