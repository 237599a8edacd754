"""Batches made beforehand, while the training computes: by a thread of this process or by worker processes.

    ahead          lets a thread run an iterator some items ahead of its reader
    made_ahead     all batches of an epoch, by a thread (workers=0) or by that many processes

Processes are spawned, not forked, as this is the one way that works everywhere and with threads. Worker k of n makes
the batches k, k + n, k + 2n, ... of a list that it is given at the start, and writes them into a pipe of its own: no
queue, no lock, no request that could get lost. A full pipe makes a worker wait. When a worker dies the system closes
its pipe, and the reader sees the end of it; when the reader dies, the worker's next write fails, and it ends too.
"""

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
import traceback

from .samples import make_batch

GUARD = 'a script that uses workers needs `if __name__ == "__main__":` around what it runs'


class WorkerError(RuntimeError):
    """A worker process died; the text says which one and, if known, what killed it.

    >>> raise WorkerError("data worker 1 (process 4711) was killed by signal 15 (SIGTERM)")
    Traceback (most recent call last):
        ...
    minisegnet.data.workers.WorkerError: data worker 1 (process 4711) was killed by signal 15 (SIGTERM)
    """


# ------------------------------------------------------------------ a thread


def ahead(items, depth, stop=lambda: None):
    """Yield what the iterator `items` yields, worked out by a thread, at most `depth` items before they are asked for.

    An exception in `items` is raised here, in its turn. When the reader leaves, `stop()` is called, which may end what
    `items` waits for, and the thread ends after the item that it is at.

    >>> list(ahead(iter("abc"), depth=2))
    ['a', 'b', 'c']
    """
    results, slots, left = queue.SimpleQueue(), threading.Semaphore(depth), threading.Event()

    def work():
        try:
            while slots.acquire() and not left.is_set():
                results.put((next(items), None))
        except BaseException as error:  # the end of the iterator too: the reader must hear of whatever ends the work
            results.put((None, error))

    thread = threading.Thread(target=work, name="minisegnet data", daemon=True)
    thread.start()
    try:
        while True:
            item, error = wait_for(results)
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            slots.release()
            yield item
    finally:
        left.set()
        slots.release()
        stop()
        thread.join()


def wait_for(results):
    """The queue's next entry. The timeout is for Windows, where Ctrl-C can't interrupt a wait without one."""
    while True:
        with contextlib.suppress(queue.Empty):
            return results.get(timeout=0.5)


# ------------------------------------------------------------------ processes


def made_ahead(source, epoch, plan, workers, prefetch):
    """Yield the Batch of each entry of `plan`, a list of lists of (index, repeat), in order; made beforehand.

    However it ends (the end, an error, Ctrl-C, the reader leaving), no process is left when it has ended.
    """
    if not workers:
        yield from ahead((make_batch(source, epoch, samples) for samples in plan), prefetch)
        return
    pool = []
    try:
        payload = pickled(source)
        for number in range(min(workers, len(plan))):
            pool.append(Worker(number, payload, epoch, plan[number::workers]))
        received = (pool[position % workers].receive() for position in range(len(plan)))
        yield from ahead(received, prefetch, stop=lambda: [worker.stop() for worker in pool])
    finally:
        for worker in pool:
            worker.close()


def pickled(source):
    """The bytes that the workers get the data set and the transform as; TypeError where that can't be done."""
    try:
        return pickle.dumps(source)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise TypeError(
            f"the data set or the transform can't be sent to worker processes ({error}); define its class and "
            f"functions at the top of a module, or use workers=0"
        ) from None


class Worker:
    """One process and the reading end of its pipe."""

    def __init__(self, number, payload, epoch, plan):
        self.number, self.silent = number, True
        context = multiprocessing.get_context("spawn")
        self.receiver, sender = context.Pipe(duplex=False)
        arguments = (sender, number, payload, epoch, plan)
        self.process = context.Process(target=work, args=arguments, name=f"minisegnet data {number}", daemon=True)
        with sender:  # closed here once the process has it: the pipe then ends when the process does
            try:
                self.process.start()
            except BrokenPipeError:
                raise WorkerError(f"data worker {number} died while it was started; {GUARD}") from None

    def receive(self):
        """The next batch; raises what went wrong in the worker, or WorkerError if it is dead."""
        try:
            message = self.receiver.recv()
        except (EOFError, OSError):
            raise WorkerError(self.obituary()) from None
        if isinstance(message, Exception):
            raise message
        self.silent = False
        return message

    def obituary(self):
        """What is known of the worker's death."""
        self.process.join(timeout=5)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = next((s.name for s in signal.Signals if s == -code), "unknown")
            how = f"was killed by signal {-code} ({name})"
            how += ", perhaps because memory ran out" if name == "SIGKILL" else ""
        else:
            how = f"ended with exit code {code}"
        hint = f"; it had not made a batch yet: {GUARD}" if self.silent else ""
        return f"data worker {self.number} (process {self.process.pid}) {how}{hint}"

    def stop(self):
        """Ask the process to end; the pipe ends with it."""
        self.process.terminate()

    def close(self):
        """Wait for the process's end, which `kill` enforces, and release what it had."""
        self.process.terminate()
        self.process.join(timeout=5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.receiver.close()
        self.process.close()


def work(sender, number, payload, epoch, plan):
    """What a worker process runs: makes its batches and sends them; an exception is sent in place of a batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one decides, and stops us
    with contextlib.suppress(ConnectionError):  # nobody reads any more: the main process has died
        try:
            source = pickle.loads(payload)
            for samples in plan:
                sender.send(make_batch(source, epoch, samples))
        except ConnectionError:
            raise
        except Exception as error:
            note = f"in data worker {number}:\n{traceback.format_exc()}"
            sender.send(portable(error, note))


def portable(error, note):
    """The exception with a note, or where pickle can't carry it over, a RuntimeError with its text."""
    error.add_note(note)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as reason:
        error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(f"{note}\n(of another kind because of {reason!r})")
    return error
