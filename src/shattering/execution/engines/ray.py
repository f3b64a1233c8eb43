"""Ray: chunks of a sweep as tasks, on a cluster that runs already or one of this machine for as long as the sweep.

The driver alone writes records. A task says what became of each job as soon as it knows, through an actor that the
driver asks several times a second, and whatever was not said by then is what the task returns; so nothing depends on
the actor's survival.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.errors import SpecError, StoreError
from shattering.core.words import plural
from shattering.data.dataset import Splits
from shattering.execution.engines.chunks import Ledger
from shattering.execution.engines.remote import Origin, Pace, absolute, do_jobs, marked, settle, threads_of
from shattering.execution.local import POLL_SECONDS, START_SECONDS, STOP_SECONDS, TRIES, hang_seconds
from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message

OLDEST = (2, 54)
"""The first version whose token authentication can be relied on."""

BEAT_SECONDS = 0.5
"""Between two words of a task with the driver."""

ROOM_SECONDS = 10.0
"""Between two looks at how many processors the cluster has."""

OBJECT_STORE_BYTES = 128 << 20
"""Of a cluster on this machine, beside the data."""


def require_ray(address: str | None = None) -> None:
    """Raises `StoreError` where Ray is missing or too old, `SpecError` where the address is none."""
    if address is not None and not re.fullmatch(r"(ray://)?[\w.\[\]:-]+", address):
        told = "is not an address of a Ray cluster; write auto, HOST:PORT or ray://HOST:PORT"
        raise SpecError("ray-address", f"--address {_without_password(address)!r} {told}.")
    _ray(address)


def _ray(address: str | None) -> Any:
    """The module; nothing is reported to its makers, and a cluster of our own asks for a token."""
    if "ray" not in sys.modules:  # all of these are read on import
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # What it has to say of lost workers would stand among our results, on standard output.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        if address is None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
                os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this process, and in no file
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise StoreError(
            "ray-missing",
            "--engine ray needs Ray, which is not installed; type `python -m pip install -c constraints.txt "
            "'shattering[ray]'`.",
        ) from None
    version = tuple(int(part) for part in re.findall(r"\d+", ray.__version__)[:2])
    if version < OLDEST:
        floor = ".".join(map(str, OLDEST))
        raise StoreError(
            "ray-too-old",
            f"--engine ray needs Ray {floor} or newer, and {ray.__version__} is installed; type `python -m pip install "
            f"-c constraints.txt 'ray>={floor}'`.",
        )
    return ray


def _without_password(address: str) -> str:
    return re.sub(r"[^/@]*@", "…@", address)


@dataclass(frozen=True, eq=False)
class RayEngine:
    """Carries out jobs as tasks of a Ray cluster.

    Args:
        splits: the data, put on each node once; none: every worker loads them itself.
        address: of a running cluster; none: one on this machine, for as long as the sweep.
        jobs: runs at a time; none: as many as the cluster's processors have room for.
        run_bytes: memory of a worker, which a node of a running cluster must have free.
        tell: hears about the start-up.
    """

    splits: Splits | None = None
    address: str | None = None
    jobs: int | None = None
    run_bytes: int = 0
    tell: Callable[[str], None] = lambda text: None

    def __call__(
        self,
        take: Callable[[], Job | None],
        unfinished: Callable[[], bool],
        *,
        workers: int,
        should_stop: Callable[[], bool] = lambda: False,
        tries: int = TRIES,
    ) -> Generator[Message, None, None]:
        """As `shattering.execution.local.run_jobs`; ``workers`` is the size of a cluster on this machine.

        Raises:
            StoreError: the cluster cannot be started or reached, or its workers are unfit.
        """
        first = take()
        if first is None and not unfinished():
            return
        ray = _ray(self.address)
        threads, _ = threads_of([first]) if first is not None else (1, False)
        with self._cluster(ray, (self.jobs or workers) * threads), ExitStack() as stack:
            sweep = _Sweep(self, ray, Ledger(tries), stack)
            if first is not None:
                sweep.ledger.again.append(first)
            yield from sweep.messages(take, unfinished, should_stop)

    @contextmanager
    def _cluster(self, ray: Any, processors: int) -> Iterator[None]:
        began = time.monotonic()
        if ray.is_initialized():  # the caller's own, who will end it
            yield
            return
        # Ray takes SIGTERM for itself; here it asks for a stop, as without Ray.
        main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGTERM) if main else None
        folder = _folder() if self.address is None else None
        try:
            try:
                if folder is not None:
                    nbytes = _nbytes(self.splits)
                    ray.init(
                        address="local",
                        num_cpus=processors,
                        include_dashboard=False,
                        object_store_memory=OBJECT_STORE_BYTES + nbytes + nbytes // 4,
                        log_to_driver=False,
                        logging_level="error",
                        _temp_dir=str(folder),
                    )
                elif "://" in str(self.address):
                    _knock(self.address)
                    ray.init(self.address)
                else:
                    _knock(self.address)
                    ray.init(self.address, log_to_driver=False, logging_level="error")
            except Exception as error:
                raise _unreachable(self.address, error) from error
            finally:
                if handler is not None:
                    signal.signal(signal.SIGTERM, handler)
            self._say_where(ray, time.monotonic() - began)
            yield
        finally:
            with suppress(Exception):
                ray.shutdown()
            if handler is not None:
                signal.signal(signal.SIGTERM, handler)
            if folder is not None:
                with suppress(StoreError):
                    io.remove(folder)

    def _say_where(self, ray: Any, seconds: float) -> None:
        processors = ray.cluster_resources().get("CPU", 0)
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        what = "Started Ray on this machine" if self.address is None else f"Joined the Ray cluster {self.address}"
        size = f"{plural(nodes, 'node')}, {plural(int(processors), 'processor')}"
        self.tell(f"{what} in {seconds:.1f} s: Ray {ray.__version__}, {size}.")
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
            self.tell(
                "This cluster is used without token authentication: whoever reaches its ports can run code on it; set "
                "RAY_AUTH_MODE=token on every node (see docs/clusters.md)."
            )


@dataclass(eq=False)
class _Chunk:
    """A task, and what is known of it."""

    name: str
    jobs: dict[str, Job]
    size: int
    where: dict[str, Any] = field(default_factory=dict)
    beats: int = -1
    beaten: bool = False
    looked_at: float = field(default_factory=time.monotonic)
    silent_seconds: float = 0.0
    killed: bool = False

    def beat(self, beats: int) -> None:
        self.beaten = self.beaten or beats > 0
        if beats != self.beats:
            self.beats, self.silent_seconds = beats, 0.0

    def hangs(self) -> bool:
        now = time.monotonic()
        self.silent_seconds += min(now - self.looked_at, 4 * POLL_SECONDS)
        self.looked_at = now
        if self.beats < 0:  # it waits for a place, or for a worker to start
            self.silent_seconds = 0.0
        return self.silent_seconds > (hang_seconds() if self.beaten else max(hang_seconds(), START_SECONDS))


class _Sweep:
    """The driver's side of one sweep on a cluster that is connected."""

    def __init__(self, engine: RayEngine, ray: Any, ledger: Ledger, stack: ExitStack) -> None:
        self.engine, self.ray, self.ledger, self.stack = engine, ray, ledger, stack
        self.origin = Origin.here()
        self.chunks: dict[Any, _Chunk] = {}  # by the task's reference
        here = ray.get_runtime_context().get_node_id()
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        self.desk = (
            ray.remote(_Desk)
            .options(num_cpus=0, max_restarts=-1, scheduling_strategy=affinity(here, soft=True))
            .remote()
        )
        self.work = ray.remote(_work)
        self.data = self._put()
        self.begun = self.looked = time.monotonic()
        self.asked: Any = None
        self.slots = self._slots()
        self.hosts: set[str] = set()
        self.patient = True
        self.number = 0

    def messages(
        self, take: Callable[[], Job | None], unfinished: Callable[[], bool], should_stop: Callable[[], bool]
    ) -> Iterator[Message]:
        ray, stop_by = self.ray, math.inf
        while True:
            now = time.monotonic()
            if should_stop() and math.isinf(stop_by):
                stop_by = now + STOP_SECONDS
                for reference, chunk in self.chunks.items():
                    if chunk.beats < 0:  # not begun: nothing to save
                        self._cancel(reference, chunk)
            if math.isinf(stop_by):
                self._hand_out(take, now)
            if not self.chunks and (stop_by < math.inf or not (self.ledger.again or unfinished())):
                yield from (Interrupted(job.key) for job in self.ledger.again)
                return
            yield from self._collect(stop_by < math.inf)
            done: list[Any] = []
            if self.chunks:
                done, rest = ray.wait(list(self.chunks), num_returns=1, timeout=POLL_SECONDS)
                if rest:
                    done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
            else:
                time.sleep(POLL_SECONDS)
            if done:
                yield from self._collect(stop_by < math.inf)  # what a task said comes before what it returns
            for reference in done:
                yield from self._ended(reference, self.chunks.pop(reference), stop_by < math.inf)
            for reference, chunk in self.chunks.items():
                if not chunk.killed and (time.monotonic() > stop_by or chunk.hangs()):
                    self._cancel(reference, chunk)
            if time.monotonic() > stop_by + STOP_SECONDS / 4:  # a node that is gone answers nobody
                for chunk in self.chunks.values():
                    yield from (Interrupted(key) for key in chunk.jobs)
                return

    def _hand_out(self, take: Callable[[], Job | None], now: float) -> None:
        if now - self.looked > ROOM_SECONDS:
            self.looked, self.slots = now, self._slots()
        # Short chunks wait at the workers for their turn, so that none idles while we write records.
        extra = 1 + self.slots // 4 if self.ledger.job_seconds < 1.0 else 0
        while len(self.chunks) < self.slots + extra:
            jobs = self.ledger.next_chunk(take, now - self.begun)
            if not jobs:
                break
            self._submit(jobs)
        if self.patient and self.chunks and now - self.begun > 60 and not self.hosts:
            self.patient = False
            self.engine.tell("No run has begun after 60 s: no node has a processor and the memory free for one.")

    def _submit(self, jobs: list[Job]) -> None:
        threads, on_gpu = threads_of(jobs)
        self.number += 1
        name = f"chunk-{self.number}"
        options: dict[str, Any] = {"num_cpus": threads, "max_retries": 0, "name": f"shattering-{name}"}
        if on_gpu:
            options["num_gpus"] = 1
        if self.engine.address is not None and self._memory_fits():
            options["memory"] = self.engine.run_bytes
        sent = [absolute(job) for job in jobs]
        if self.origin.mark is None and sent[0].store is not None:
            self.origin = replace(self.origin, mark=self.stack.enter_context(marked(sent[0].store)))
        reference = self.work.options(**options).remote(sent, self.origin, threads, self.data, self.desk, name)
        self.chunks[reference] = _Chunk(name, {job.key: job for job in jobs}, len(jobs))

    def _collect(self, stop: bool) -> Iterator[Message]:
        """What the desk has heard; without waiting, since the desk may be restarting."""
        if self.asked is None:
            self.asked = self.desk.collect.remote(stop)
        ready, _ = self.ray.wait([self.asked], timeout=0)
        if not ready:
            return
        asked, self.asked = self.asked, None
        try:
            said = self.ray.get(asked)
        except self.ray.exceptions.RayError:
            return  # it is being restarted; what it had heard is asked for again when the tasks end
        by_name = {chunk.name: chunk for chunk in self.chunks.values()}
        for word in said:
            if word.chunk in by_name:
                yield from self._hear(by_name[word.chunk], word)

    def _hear(self, chunk: _Chunk, word: _Word) -> Iterator[Message]:
        chunk.beat(word.beats)
        if word.where and not chunk.where:
            chunk.where = word.where
            self._greet(word.where)
        for message, seconds in word.messages:
            if message.key not in chunk.jobs:
                continue
            if isinstance(message, Ended | Answered | Interrupted | Broke):
                del chunk.jobs[message.key]
                if isinstance(message, Ended):
                    self.ledger.timed(seconds)
            yield message

    def _ended(self, reference: Any, chunk: _Chunk, stopping: bool) -> Iterator[Message]:
        errors = self.ray.exceptions
        identifier, cause, advice, to_blame = "run-crashed", "", "", True
        try:
            yield from self._hear(chunk, self.ray.get(reference))
        except errors.RayTaskError as error:
            raise _unfit(error) from None
        except errors.OutOfMemoryError:
            identifier, cause = "run-out-of-memory", "was ended because the memory of its node ran out"
            advice = "use fewer --jobs or smaller batches"
        except (errors.NodeDiedError, errors.ObjectLostError):
            cause, advice, to_blame = "lost its node", "see why the nodes of the cluster end", False
        except errors.RayError as error:
            cause = f"ended unexpectedly ({type(error).__name__})"
            advice = "a native library crashed or the memory ran out; see the logs of the Ray cluster"
        if not chunk.jobs:
            return
        if stopping:
            yield from (Interrupted(key) for key in chunk.jobs)
            return
        alone = chunk.size == 1 and to_blame and self._node_lives(chunk)
        if chunk.killed:
            yield from self.ledger.hung(chunk.jobs.values(), alone=chunk.size == 1)
        else:
            cause = cause or "ended without saying what became of it"
            advice = advice or "see the logs of the Ray cluster"
            yield from self.ledger.worker_lost(chunk.jobs.values(), cause, advice, alone=alone, identifier=identifier)

    def _cancel(self, reference: Any, chunk: _Chunk) -> None:
        chunk.killed = True
        with suppress(Exception):
            self.ray.cancel(reference, force=True)

    def _greet(self, where: dict[str, Any]) -> None:
        if where["unfit"]:
            raise StoreError("ray-worker-unfit", f"{where['unfit'].capitalize()} (node {where['host']}).")
        if not self.hosts:
            self.engine.tell(
                f"The first worker imported PyTorch in {where['import_seconds']:.1f} s and began "
                f"{time.monotonic() - self.begun:.1f} s after it was asked for."
            )
        if where["host"] not in self.hosts and where["torch"] != self.origin.torch:
            self.engine.tell(
                f"The node {where['host']} has PyTorch {where['torch']} and the driver {self.origin.torch}: the last "
                "bits of results may depend on the node; install one version everywhere."
            )
        self.hosts.add(where["host"])

    def _put(self) -> Any:
        splits = self.engine.splits
        if splits is None or splits.train.files is not None or splits.test.files is not None:
            return None
        try:
            return self.ray.put(splits)
        except self.ray.exceptions.RayError as error:
            told = f"The data do not fit the cluster's object store ({type(error).__name__}); every worker loads them."
            self.engine.tell(told)
            return None

    def _slots(self) -> int:
        if self.engine.jobs is not None:
            return self.engine.jobs
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def _memory_fits(self) -> bool:
        return any(
            node["Alive"] and node["Resources"].get("memory", 0) >= self.engine.run_bytes for node in self.ray.nodes()
        )

    def _node_lives(self, chunk: _Chunk) -> bool:
        node = chunk.where.get("node")
        return node is None or any(entry["NodeID"] == node and entry["Alive"] for entry in self.ray.nodes())


@dataclass(frozen=True)
class _Word:
    """What a task says: how it is doing, where it is, and what became of jobs, with the seconds each took."""

    chunk: str
    beats: int
    where: dict[str, Any]
    messages: list[tuple[Message, float]]


class _Desk:
    """An actor where tasks leave word for the driver, and learn whether to stop."""

    def __init__(self) -> None:
        self._words: list[_Word] = []
        self._stop = False

    def hear(self, word: _Word) -> bool:
        """Takes a word; returns whether to stop."""
        self._words.append(word)
        return self._stop

    def collect(self, stop: bool) -> list[_Word]:
        """The words since the last call."""
        self._stop = self._stop or stop
        words, self._words = self._words, []
        return words


class _Line:
    """A task's line to the desk: a thread that speaks while the task trains."""

    def __init__(self, desk: Any, chunk: str) -> None:
        self._ray = importlib.import_module("ray")
        self._desk, self._chunk = desk, chunk
        self._beats, self._stop, self._over = 0, False, threading.Event()
        self._unsaid: list[tuple[Message, float]] = []
        self._lock = threading.Lock()
        self._pace = Pace()
        self.where: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> _Line:
        self._speak()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def alive(self) -> None:
        self._beats += 1

    def stopped(self) -> bool:
        return self._stop

    def tell(self, message: Message) -> None:
        seconds = self._pace.lap() if isinstance(message, Ended | Broke | Interrupted) else 0.0
        with self._lock:
            self._unsaid.append((message, seconds))

    def last_word(self) -> _Word:
        """What has not been said."""
        return _Word(self._chunk, self._beats, self.where, self._unsaid)

    def _talk(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._speak()

    def _speak(self) -> None:
        with self._lock:
            unsaid, self._unsaid = self._unsaid, []
        try:
            word = _Word(self._chunk, self._beats, self.where, unsaid)
            self._stop = self._ray.get(self._desk.hear.remote(word), timeout=30)
        except Exception:  # the desk is gone or slow: it is said again, or at the end
            with self._lock:
                self._unsaid = unsaid + self._unsaid


_sound: set[str] = set()
"""Fingerprints of data that this worker has verified."""


def _work(jobs: Sequence[Job], origin: Origin, threads: int, splits: Splits | None, desk: Any, chunk: str) -> _Word:
    """What a task does."""
    with _Line(desk, chunk) as line:
        began = time.monotonic()
        unfit = settle(origin, threads)
        seconds = time.monotonic() - began
        if splits is not None and not unfit and (wanted := jobs[0].fingerprint) not in _sound:
            if splits.fingerprint != wanted:
                unfit = f"the data arrived with the fingerprint {splits.fingerprint[:12]}, not {wanted[:12]}"
            _sound.add(wanted)
        line.where = _where(seconds, unfit)
        if not unfit:
            do_jobs(jobs, origin, splits, alive=line.alive, stopped=line.stopped, tell=line.tell)
    return line.last_word()


def _where(import_seconds: float, unfit: str | None) -> dict[str, Any]:
    import platform

    import torch

    context = importlib.import_module("ray").get_runtime_context()
    return {
        "host": platform.node(),
        "node": context.get_node_id(),
        "torch": str(torch.__version__).partition("+")[0],
        "import_seconds": import_seconds,
        "unfit": unfit,
    }


def _knock(address: str | None) -> None:
    """Raises `OSError` where nobody listens: Ray itself would go on asking for a quarter of an hour."""
    host, colon, port = str(address).removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _unreachable(address: str | None, error: Exception) -> StoreError:
    told = str(error).strip().split("\n")[0].rstrip(".")[:200]
    if type(error).__name__ == "AuthenticationError":
        return StoreError(
            "ray-authentication",
            f"The Ray cluster {address or 'of this machine'} refused the token; put the cluster's token into "
            "~/.ray/auth_token or RAY_AUTH_TOKEN and set RAY_AUTH_MODE=token.",
        )
    if address is None:
        advice = "free memory and file descriptors, or use --engine local"
        return StoreError("ray-not-started", f"Ray could not be started on this machine ({told}); {advice}.")
    advice = "start it with `ray start --head`, or correct --address"
    return StoreError("ray-unreachable", f"There is no Ray cluster at {address} ({told}); {advice}.")


def _unfit(error: Exception) -> StoreError:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")[:300].rstrip(".")
    advice = "install the same version of shattering on every node"
    return StoreError("ray-worker-unfit", f"A worker of the Ray cluster could not begin ({told}); {advice}.")


def _folder() -> Path:
    """A new folder for a cluster of this machine, short since the names of sockets are, and closed to others."""
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    if len(str(folder)) > 30:
        folder = Path("/tmp")
    before = os.umask(0o077)
    try:
        path = folder / f"shattering-{os.urandom(6).hex()}"
        io.make_folders(path)
    finally:
        os.umask(before)
    return path


def _nbytes(splits: Splits | None) -> int:
    if splits is None or splits.train.files is not None:
        return 0
    return int(splits.train.inputs.nbytes + splits.test.inputs.nbytes)
