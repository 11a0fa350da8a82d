"""Threads for a batch: no more than are allowed, each piece of work once, everything closed at the end."""

import threading

import pytest

from cardwright.notifications.service.hands import Hands


def test_every_piece_of_work_lands_once_and_each_thread_closes_what_it_held_open() -> None:
    closed: list[str] = []
    worked: set[str] = set()

    def work(piece: int) -> int:
        worked.add(threading.current_thread().name + str(threading.get_ident()))
        return piece * 2

    landed = []
    with Hands(work, lambda: closed.append("closed"), 3) as hands:
        for piece in range(20):
            if not hands.free:
                landed.append(hands.take())
            hands.give(piece)
        while hands.flying:
            landed.append(hands.take())
        assert closed == []
    assert sorted(landed) == [(piece, piece * 2) for piece in range(20)]
    assert len(closed) == 3
    assert 1 <= len(worked) <= 3


def test_no_thread_begins_without_work() -> None:
    closed: list[str] = []
    pool: Hands[str, str] = Hands(lambda piece: piece, lambda: closed.append("closed"), 3)
    with pool as hands:
        hands.give("one")
        assert hands.take() == ("one", "one")
        hands.give("two")
        assert hands.take() == ("two", "two")
    assert closed == ["closed"]


def test_a_batch_that_breaks_waits_for_what_flies() -> None:
    done: list[str] = []
    gate = threading.Event()

    def work(piece: str) -> None:
        gate.wait(10)
        done.append(piece)

    def breaks() -> None:
        hands: Hands[str, None] = Hands(work, lambda: None, 2)
        with hands:
            hands.give("one")
            gate.set()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert done == ["one"]
