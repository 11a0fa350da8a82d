"""Laws of trying again."""

from collections.abc import Callable

import pytest

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.retries import Retry


class Scene:
    """An action that fails as told, and a time that passes only when waited."""

    def __init__(self, *failures: Exception, takes_s: float = 0.0) -> None:
        self.failures = list(failures)
        self.takes_s = takes_s
        self.now_s = 0.0
        self.pauses: list[float] = []

    def act(self) -> str:
        """Fail or answer."""
        self.now_s += self.takes_s
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now_s += seconds

    def retry(self, jitter: Callable[[], float] = lambda: 0.0) -> Retry:
        """Build the retry of this scene."""
        return Retry(sleep=self.sleep, monotonic=lambda: self.now_s, jitter=jitter)


def unavailable(count: int) -> list[UnavailableError]:
    """Build transient failures."""
    return [UnavailableError(f"fault {number}") for number in range(count)]


def test_transient_faults_are_tried_again_after_1_2_and_4_seconds() -> None:
    scene = Scene(*unavailable(3))
    assert scene.retry().call(scene.act) == "done"
    assert scene.pauses == [1.0, 2.0, 4.0]


def test_the_fourth_fault_is_the_callers() -> None:
    scene = Scene(*unavailable(4))
    with pytest.raises(UnavailableError, match="fault 3"):
        scene.retry().call(scene.act)


def test_a_refusal_is_not_tried_again() -> None:
    scene = Scene(ProviderRefusedError("no"))
    with pytest.raises(ProviderRefusedError):
        scene.retry().call(scene.act)
    assert scene.pauses == []


def test_no_try_begins_after_the_window() -> None:
    scene = Scene(*unavailable(4), takes_s=8.0)
    with pytest.raises(UnavailableError, match="fault 1"):
        scene.retry().call(scene.act)
    assert scene.pauses == [1.0]


def test_jitter_lengthens_a_pause_by_up_to_a_quarter() -> None:
    scene = Scene(*unavailable(1))
    scene.retry(lambda: 1.0).call(scene.act)
    assert scene.pauses == [1.25]
