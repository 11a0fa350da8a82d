"""Callers inside one process: the services over a ground, one set of connections a thread, and many threads let go together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

from bench.proofs.grounds import Ground
from cardwright.authorizations.service import AuthorizationService
from cardwright.kernel.clock import Clock
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.transactions.service.life import TransactionLife

T = TypeVar("T")


class NoCache:
    """A cache that is not there."""

    def get_many(self, keys: object) -> None:
        """Answer nothing."""

    def send(self, commands: object) -> None:
        """Take nothing."""


@dataclass(frozen=True, slots=True)
class Services:
    """What decides and what takes events, on connections of one thread."""

    engine: AuthorizationService
    life: TransactionLife


@contextmanager
def services(ground: Ground, clock: Clock) -> Iterator[Services]:
    """The services over a ground without a cache, closed afterwards."""
    app, worker, ids = ground.as_role("app"), ground.as_role("worker"), IdSource(clock)
    try:
        engine = AuthorizationService(app, cast(Cache, NoCache()), clock, ids, secrets=lambda: [Secret("a proof's")])
        yield Services(engine, TransactionLife(worker, clock, ids))
    finally:
        app.close()
        worker.close()


def all_at_once(ground: Ground, clock: Clock, shares: Sequence[T], work: Callable[[Services, T], None]) -> None:
    """Run `work` on each share in a thread of its own, begun together. Raises what the first to fail raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(shares))

    def run(share: T) -> None:
        try:
            with services(ground, clock) as mine:
                start.wait()
                work(mine, share)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
