"""MACs by keys that are kept begun are those of RFC 2104, whichever keys and threads come in between."""

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.macs import hmac_sha256
from cardwright.kernel.secret import Secret


def test_the_first_two_cases_of_rfc_4231_are_met() -> None:
    first = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    second = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256(Secret(b"\x0b" * 20), b"Hi There").hex() == first
    assert hmac_sha256(Secret(b"Jefe"), b"what do ya want for nothing?").hex() == second


@given(st.binary(min_size=1, max_size=200), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_a_key_used_again_gives_what_the_standard_library_gives(key: bytes, messages: list[bytes]) -> None:
    for message in messages:
        assert hmac_sha256(Secret(key), message) == hmac.digest(key, message, hashlib.sha256)


def test_threads_that_share_a_key_do_not_share_a_message() -> None:
    key = Secret(b"k" * 32)
    messages = [number.to_bytes(4, "big") * 500 for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda message: hmac_sha256(key, message), messages))
    assert made == [hmac.digest(b"k" * 32, message, hashlib.sha256) for message in messages]
