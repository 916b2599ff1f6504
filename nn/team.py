"""Team: threads that call one function together."""

from collections.abc import Callable
import contextvars
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from nn.denormals import flush_on_this_thread

T = TypeVar("T")


class Team:
    """The calling thread and others, which run within the context of this object.

    Parameters
    ----------
    size : int
        The number of threads, at least 1.

    Notes
    -----
    After an interrupt, `run` still waits for the other threads. concurrent.futures.ThreadPoolExecutor is as fast, but
    its `wait` can be interrupted while the threads still write into arrays.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: list[SimpleQueue[Any]] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> "Team":
        self._jobs = [SimpleQueue() for _ in range(self.size - 1)]
        self._threads = [Thread(target=self._work, args=(jobs,), daemon=True) for jobs in self._jobs]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # for example an interrupt
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        threads, self._threads = self._threads, []
        for jobs in self._jobs:  # all of them, before this may be interrupted
            jobs.put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join()

    def run(self, f: Callable[[int], T], n: int) -> list[T]:
        """Call f(0) on this thread and f(1) to f(n - 1) each on its own thread.

        Parameters
        ----------
        f : callable
            The function.
        n : int
            The number of calls, at most the number of threads. Outside of the context all run on this thread.

        Returns
        -------
        list
            [f(0), ..., f(n - 1)].

        Raises
        ------
        BaseException
            What a call raises. All calls have ended then.
        """
        if n == 1 or not self._threads:
            return [f(k) for k in range(n)]
        outcomes: dict[int, tuple[Any, BaseException | None]] = {}
        ended: SimpleQueue[None] = SimpleQueue()  # gets an element for each call that has ended
        try:
            for k in range(1, n):
                # a thread does not inherit this one's settings, such as what NumPy does about overflow
                self._jobs[k - 1].put((contextvars.copy_context(), f, k, outcomes, ended))
            first = f(0)
            while len(outcomes) < n - 1:
                ended.get()
        except BaseException:  # the other threads may still write into arrays
            while True:
                try:
                    self._wait()
                    break
                except BaseException:  # such as another interrupt
                    continue
            raise
        for _, error in outcomes.values():
            if error is not None:
                raise error
        return [first, *(outcomes[k][0] for k in range(1, n))]

    def _wait(self) -> None:
        """Wait until each thread has done what it was given before."""
        reached: SimpleQueue[None] = SimpleQueue()
        for jobs in self._jobs:
            jobs.put(reached)
        for _ in self._jobs:
            reached.get()

    @staticmethod
    def _work(jobs: "SimpleQueue[Any]") -> None:
        flush_on_this_thread()
        for job in iter(jobs.get, None):
            if isinstance(job, SimpleQueue):  # of `_wait`
                job.put(None)
                continue
            context, f, k, outcomes, ended = job
            try:
                outcomes[k] = context.run(f, k), None
            except BaseException as error:
                outcomes[k] = None, error
            ended.put(None)
            del f, outcomes, job  # nothing of a step is kept while the thread waits
