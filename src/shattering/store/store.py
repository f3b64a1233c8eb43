"""Records on disk: a folder a run, written whole or not at all, verified when read.

shattering-store.json       what this folder is, and its schema
runs/<digest>/              spec.json, record.json, metrics.jsonl, DONE; examples.parquet, weights.safetensors if any
failures/<digest>.json      runs that failed; the next `run` tries them again
plans/<key>/                plan.json, gallery.json
ways/<shape>.json           which way of making updates the runs of a shape go
reports/<key>/              what the report wrote
checkpoints/<digest>/       of unfinished runs
estates/<digest>/           weights that runs leave to those that start from them
locks/<digest>.lock         who computes a run now
quarantine/                 what was found damaged, with the reason beside it
index/                      tables of the runs and their snapshots, made from the above, see `shattering.store.index`
tmp/                        what is under construction
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.errors import ShatteringError, StoreError
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.store import flat
from shattering.store import format as form
from shattering.store.checkpoints import Checkpoints
from shattering.store.estates import Estates
from shattering.store.format import Damage, Foreign
from shattering.store.index import FILES, Index, Mark
from shattering.store.leases import Lease, Locks
from shattering.store.marker import find_or_make
from shattering.store.quarantine import Quarantine

FOLDERS = ("runs", "failures", "plans", "reports", "checkpoints", "locks", "quarantine", "tmp")

_DIGEST = re.compile(r"[0-9a-f]{32}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,119}")
_OUTCOMES = (Status.DONE, Status.NOT_FITTED, Status.DIVERGED)


class Store:
    """A folder of records. Open one with `Store.open`.

    Args:
        root: the folder.
        write: whether it was opened for writing.
        stale_seconds: how long a stopped process keeps a run from the others.
        beat_seconds: time between two heartbeats of this process.
    """

    def __init__(self, root: Path, write: bool, stale_seconds: float, beat_seconds: float) -> None:
        self.root = root
        self.write = write
        self._quarantine = Quarantine(root, write)
        self._locks = Locks(root / "locks", root / "tmp", stale_seconds, beat_seconds)
        self.index = Index(root, write)
        """What is here at a glance; made from the runs, and brought up to date by `catalogue`."""
        self._runs = str(root / "runs")
        self._guard = threading.RLock()  # of what this object remembers: records may be put by several threads
        self._sound: set[str] = set()
        self._unusable: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path, *, write: bool, stale_seconds: float = 30.0, beat_seconds: float = 1.0) -> Store:
        """Opens the store at ``path``; for writing, makes it if need be, and removes what dead writers left.

        Raises `SpecError` where ``path`` is a file; `StoreError` where it is a folder of something else, a store of a
        newer schema, absent (for reading), or cannot be written to (for writing).
        """
        path = Path(path)
        find_or_make(path, write)
        store = cls(path, write, stale_seconds, beat_seconds)
        if write:
            store._prepare()
        return store

    @classmethod
    def beside(cls, path: Path) -> Store:
        """The store at ``path``, which another process has opened for writing and cleaned, for its worker's use."""
        return cls(Path(path), True, stale_seconds=30.0, beat_seconds=1.0)

    @property
    def problems(self) -> list[str]:
        """What was found damaged or unusable so far, one sentence each."""
        return self._quarantine.problems

    def _prepare(self) -> None:
        for name in FOLDERS:
            io.make_folders(self.root / name)
        io.check_writable(self.root / "tmp")
        reports = [self.root / "reports" / name for name in io.names(self.root / "reports")]
        for folder in (self.root, self.root / "tmp", *reports):
            io.clean_scratch(folder)
        for folder in (self.root / "checkpoints", self.root / "failures"):
            for name in io.names(folder):
                if self._run(name.removesuffix(".json")).is_dir():  # its process died just after committing it
                    io.remove(folder / name)

    # Runs

    def get(self, digest: str, *, examples: bool = False) -> Record | None:
        """The record of a run, verified; none where there is none or where it is damaged (it is then quarantined).

        Args:
            digest: the run's name.
            examples: whether to read the columns with one entry per training example, too.
        """
        try:
            return self._read(digest, examples)
        except Damage as damage:
            self._quarantine_run(digest, str(damage))
        except Foreign as reason:
            self._quarantine.note(f"The run {digest} is left aside: {reason}.")
        return None

    def weights(self, digest: str) -> bytes | None:
        """The bytes of a run's weights, verified; none where there are none."""
        try:
            listed = self._listed(digest)
            if listed is None or form.WEIGHTS not in listed["files"]:
                return None
            return self._file(digest, form.WEIGHTS, listed)
        except Damage as damage:
            self._quarantine_run(digest, str(damage))
        except Foreign as reason:
            self._quarantine.note(f"The run {digest} is left aside: {reason}.")
        return None

    def put(self, record: Record, lease: Lease, weights: bytes | None = None) -> bool:
        """Commits a run that ended: all of it, or nothing.

        Several threads may each put runs of their own at the same time.

        Returns:
            False where somebody else has committed it, or the lease was lost; what is given is then discarded.

        Raises `StoreError` where it cannot be written; nothing has changed then, or only the index has not.
        """
        self._must_write()
        digest = record.digest
        if record.status not in _OUTCOMES or lease.digest != digest:
            raise ValueError(f"{record.status} of {digest} cannot be committed with the lease of {lease.digest}.")
        if not lease.valid():
            return False
        files = form.encode_run(record, weights)
        while not io.write_folder(self._run(digest), files, self.root / "tmp", lease.valid):
            if not lease.valid():
                return False
            try:
                if self._read(digest, examples=False) is not None:
                    lease.finished = True
                    return False
            except Foreign as reason:
                raise self._irreplaceable(digest, reason) from None
            except Damage as damage:
                if not self._quarantine_run(digest, str(damage)):
                    return False
        lease.finished = True
        io.remove(self._failure(digest))
        self.checkpoints(digest).clear()
        mark = self._mark(digest, files)
        with self._guard:
            self._add(digest, form.lean_spec(files[form.SPEC]), files, mark)
        return True

    def put_failure(self, record: Record) -> None:
        """Keeps what is known of a run that failed; a later `put` removes it. Raises `StoreError`."""
        self._must_write()
        io.write_file(self._failure(record.digest), form.encode_failure(record), self.root / "tmp")
        with self._guard:
            self._add_failure(record.digest, self._place_of_failure(f"{record.digest}.json"))

    def failure(self, digest: str) -> Record | None:
        """The failed run, if it failed and has not succeeded since."""
        path = self._failure(digest)
        if not _DIGEST.fullmatch(digest) or self._run(digest).is_dir():
            return None
        data = io.read_bytes(path)
        if data is None:
            return None
        try:
            return form.decode_failure(data, digest)
        except Damage as damage:
            self._quarantine.take(path, str(damage), lambda: io.read_bytes(path) == data)
        except Foreign as reason:
            self._quarantine.note(f"The failure {path} is left aside: {reason}.")
        return None

    def records(self, digests: Iterable[str], *, examples: bool = False) -> list[Record]:
        """The runs that have ended, failed ones included, in the given order; those that have not are left out.

        ``examples``: whether to read the columns with one entry per training example, too.
        """
        found = (self.get(digest, examples=examples) or self.failure(digest) for digest in digests)
        return [record for record in found if record is not None]

    def missing(self, digests: Iterable[str]) -> list[str]:
        """The runs without a sound committed record, in the given order; failed ones are among them.

        A run is sound if all its files are as they were when their content was verified, by inode, size and time of
        change, or where they are not, if their content is verified now. Damage that leaves these as they are is found
        by `get`, so by every report, and by `check`; the run is then set aside, and missing the next time.
        """
        wanted = list(digests)
        with self._guard:
            if len(wanted) == 1:
                return [digest for digest in wanted if not self._has(digest)]
            runs = io.inodes(self.root / "runs")
            self.index.refresh(self._places(runs))
            return [digest for digest in wanted if digest not in runs or not self._has(digest)]

    def catalogue(self) -> dict[str, Mark]:
        """Every run that has ended and can be used, failed ones included, with how it ended.

        What the index has of a run is believed for as long as the run's folder is the same one; other runs are read,
        verified and added to it. Raises `StoreError` where something cannot be read.
        """
        with self._guard:
            places = self._places(io.inodes(self.root / "runs"))
            self.index.refresh(places)
            known = self.index.marks()
            for digest in [digest for digest in places if digest not in known]:
                if self._unusable.get(digest) != places[digest] and not self._take_up(digest):
                    self._unusable[digest] = places[digest]
            self.index.tidy()
            return dict(self.index.marks())

    def counts(self, digests: Iterable[str]) -> dict[str, int]:
        """Number of the given runs by status; those that have not ended are cancelled, so the sum is that of all."""
        known = self.catalogue()
        found = Counter(known[digest].status if digest in known else Status.CANCELLED.value for digest in digests)
        return {status.value: found[status.value] for status in Status}

    def metrics(self, digest: str) -> bytes:
        """The snapshots of a run as they lie in the store, verified; empty where there are none."""
        try:
            listed = self._listed(digest)
            return b"" if listed is None else self._file(digest, form.METRICS, listed)
        except Damage as damage:
            self._quarantine_run(digest, str(damage))
        except Foreign as reason:
            self._quarantine.note(f"The run {digest} is left aside: {reason}.")
        return b""

    def all_digests(self) -> list[str]:
        """Every run that has ended, failed ones included, sorted; nothing is verified."""
        failed = {name.removesuffix(".json") for name in io.names(self.root / "failures")}
        return sorted(name for name in failed.union(io.names(self.root / "runs")) if _DIGEST.fullmatch(name))

    # Work in progress

    def lease(self, digest: str) -> Lease | None:
        """The right to compute a run; none where somebody alive has it. Never waits: ask again later.

        Whoever had it before may have committed the run, so look again with `missing` once it is yours.

        Raises `StoreError` where the store is open for reading only, or has a run of that name that this version of
        the program can neither read nor replace.
        """
        self._must_write()
        lease = self._locks.acquire(_checked(digest))
        if lease is not None and self._run(digest).is_dir():
            try:
                self._read(digest, examples=False)
            except Damage:
                pass
            except Foreign as reason:
                lease.release()
                raise self._irreplaceable(digest, reason) from None
        return lease

    def checkpoints(self, digest: str) -> Checkpoints:
        """The checkpoints of a run."""
        folder = self.root / "checkpoints" / _checked(digest)
        return Checkpoints(folder, self.root / "tmp", self._quarantine.take)

    @property
    def estates(self) -> Estates:
        """What runs leave to those that start from them."""
        return Estates(self.root / "estates", self.root / "tmp", self._quarantine.take)

    # Plans and reports

    def save_plan(self, plan: Plan) -> None:
        """Writes what was asked for beside what comes of it. Raises `StoreError`."""
        self._save(self._plan(plan) / "plan.json", json.loads(plan.to_json()))

    def plans(self) -> list[Plan]:
        """All plans, sorted by key."""
        plans = []
        for name in io.names(self.root / "plans"):
            tree = self._load(self.root / "plans" / name / "plan.json")
            if tree is not None:
                try:
                    plans.append(Plan.from_json(json.dumps(tree)))
                except (ShatteringError, KeyError, TypeError, ValueError) as error:
                    self._quarantine.note(f"The plan {name} is left aside: {error}")
        return plans

    def save_gallery(self, plan: Plan, items: list[dict[str, Any]]) -> None:
        """Writes pictures of what each corruption does. Raises `StoreError`."""
        self._save(self._plan(plan) / "gallery.json", form.jsonable(items))

    def gallery(self, plan: Plan) -> list[dict[str, Any]]:
        """What `save_gallery` wrote; empty where there is none."""
        return self._load(self._plan(plan) / "gallery.json") or []

    def save_way(self, shape: str, way: str, speeds: dict[str, float]) -> None:
        """Writes which way of making updates the runs of a shape go here, and why: updates per second by way.

        Raises `StoreError`.
        """
        self._save(self._way(shape), {"way": way, "updates_per_second": speeds})

    def way(self, shape: str) -> tuple[str, dict[str, float]] | None:
        """What `save_way` wrote; none where there is none."""
        tree = self._load(self._way(shape))
        return None if tree is None else (tree["way"], tree["updates_per_second"])

    def report_dir(self, plan: Plan) -> Path:
        """Where the report of a plan belongs; it may not be there yet."""
        return self.root / "reports" / _folder_name(plan.key)

    def check(self) -> list[str]:
        """Reads and verifies everything; returns all problems, one sentence each."""
        for digest in io.names(self.root / "runs"):
            if not _DIGEST.fullmatch(digest):
                self._quarantine.note(f"{self.root / 'runs' / digest} is not the folder of a run.")
            elif self.get(digest, examples=True) is not None:
                self.weights(digest)
        for name in io.names(self.root / "failures"):
            self.failure(name.removesuffix(".json"))
        for digest in filter(_DIGEST.fullmatch, io.names(self.root / "checkpoints")):
            for _ in self.checkpoints(digest).newest():
                pass
        for digest in filter(_DIGEST.fullmatch, io.names(self.root / "estates")):
            self.estates.verify(digest)
        for plan in self.plans():
            self.gallery(plan)
        return self.problems

    # Reading

    def _has(self, digest: str) -> bool:
        if digest in self._sound:
            if self._run(digest).is_dir():
                return True
            self._sound.remove(digest)
        mark = self.index.marks().get(digest)
        sound = mark is not None and mark.numerics == form.NUMERICS_VERSION and self._state(digest, mark) == mark.state
        if not sound and not self._take_up(digest):
            return False
        self._sound.add(digest)
        return True

    def _places(self, runs: dict[str, int]) -> dict[str, int]:
        """Every run that has ended, and what tells it from another one of its name."""
        names = [name for name in io.names(self.root / "failures") if name.removesuffix(".json") not in runs]
        failures = {name.removesuffix(".json"): self._place_of_failure(name) for name in names}
        return {digest: place for digest, place in (failures | runs).items() if _DIGEST.fullmatch(digest)}

    def _place_of_failure(self, name: str) -> int:
        return io.state_of(str(self.root / "failures"), (name,)) or 0

    def _state(self, digest: str, mark: Mark) -> int | None:
        return io.state_of(f"{self._runs}/{digest}", mark.names)

    def _take_up(self, digest: str) -> bool:
        """Reads and verifies a run that the index does not know, and adds it; says whether it has ended in a record."""
        try:
            listed = self._listed(digest)
            if listed is not None:
                mark = self._mark(digest, [*listed["files"], form.DONE])
                files = self._contents(digest, listed)
                spec = form.lean_spec(files[form.SPEC])
                if listed["numerics"] != form.NUMERICS_VERSION or not form.is_spec_of(digest, spec):
                    form.decode_run(digest, listed, files)
        except Damage as damage:
            self._quarantine_run(digest, str(damage))
            return False
        except Foreign as reason:
            self._quarantine.note(f"The run {digest} is left aside: {reason}.")
            return False
        if listed is None:
            failed = self._place_of_failure(f"{digest}.json") if _DIGEST.fullmatch(digest) else 0
            if failed:
                self._add_failure(digest, failed)
            return False
        self._add(digest, spec, files, mark)
        return True

    def _mark(self, digest: str, names: Iterable[str]) -> Mark | None:
        """How the files of a run look now; none where it is gone."""
        place = io.inode_at(self._run(digest))
        bits = sum(1 << FILES.index(name) for name in names if name in FILES)
        mark = Mark(place[1] if place else 0, 0, bits, form.NUMERICS_VERSION, "")
        state = self._state(digest, mark)
        return None if place is None or state is None else mark._replace(state=state)

    def _add(self, digest: str, spec: dict[str, Any], files: Mapping[str, bytes], mark: Mark | None) -> None:
        """Adds a run to the index: its lean spec, its files, and how they looked before reading, or after writing."""
        if mark is not None:
            row = flat.flat_files(spec, files[form.RECORD], files[form.METRICS])
            self.index.add(digest, mark._replace(status=row["status"]), row, files[form.METRICS])

    def _add_failure(self, digest: str, place: int) -> None:
        failed = self.failure(digest)
        if failed is not None and failed.status is Status.FAILED:
            spec = form.lean_spec(failed.spec.to_json().encode("utf-8", "surrogatepass"))
            row = flat.flat_run(spec, form.facts(failed, digest), len(failed.rows), failed.last)
            self.index.add(digest, Mark(place, 0, 0, form.NUMERICS_VERSION, row["status"]), row)

    def _read(self, digest: str, examples: bool) -> Record | None:
        listed = self._listed(digest)
        if listed is None:
            return None
        files = self._contents(digest, listed)
        for name in (form.EXAMPLES, form.TESTED) if examples else ():
            if name in listed["files"]:
                files[name] = self._file(digest, name, listed)
        return form.decode_run(digest, listed, files)

    def _contents(self, digest: str, listed: dict[str, Any]) -> dict[str, bytes]:
        """The verified bytes of spec, facts and snapshots; the other files are seen to be there in full."""
        files = {name: self._file(digest, name, listed) for name in (form.SPEC, form.RECORD, form.METRICS)}
        for name in (form.EXAMPLES, form.TESTED, form.WEIGHTS):
            if name in listed["files"]:
                self._glance(digest, name, listed)
        return files

    def _listed(self, digest: str) -> dict[str, Any] | None:
        if not _DIGEST.fullmatch(digest):
            return None
        done = io.read_bytes(self._run(digest) / form.DONE)
        if done is None and not self._run(digest).exists():
            return None
        return form.decode_list(done, digest)

    def _file(self, digest: str, name: str, listed: dict[str, Any]) -> bytes:
        return form.verify_file(name, io.read_bytes(self._run(digest) / name), listed)

    def _glance(self, digest: str, name: str, listed: dict[str, Any]) -> None:
        """Sees that a file is there in full, without reading it."""
        size, wanted = io.size(self._run(digest) / name), listed["files"][name]["size"]
        if size != wanted:
            raise Damage(f"{name} is missing" if size is None else f"{name} has {size:,} of {wanted:,} bytes")

    def _load(self, path: Path) -> Any:
        data = io.read_bytes(path)
        if data is None:
            return None
        try:
            return form.unseal(data, path.name)
        except Damage as damage:
            self._quarantine.take(path, str(damage), lambda: io.read_bytes(path) == data)
            return None

    def _save(self, path: Path, tree: Any) -> None:
        self._must_write()
        data = form.seal(tree)
        if io.read_bytes(path) != data:
            io.write_file(path, data, self.root / "tmp")

    # Damage

    def _quarantine_run(self, digest: str, reason: str) -> bool:
        def damaged() -> bool:
            try:
                self._read(digest, examples=True)
                self._verify_weights(digest)
            except Damage:
                return True
            except Foreign:
                return False
            return False

        return self._quarantine.take(self._run(digest), reason, damaged)

    def _verify_weights(self, digest: str) -> None:
        listed = self._listed(digest)
        if listed is not None and form.WEIGHTS in listed["files"]:
            self._file(digest, form.WEIGHTS, listed)

    def _irreplaceable(self, digest: str, reason: Foreign) -> StoreError:
        message = f"{self._run(digest)} cannot be replaced: {reason}; choose another folder with --out."
        return StoreError("store-foreign-run", message)

    def _must_write(self) -> None:
        if not self.write:
            raise StoreError("store-read-only", f"{self.root} is open for reading only; choose another --out.")

    # Places

    def _run(self, digest: str) -> Path:
        return self.root / "runs" / digest

    def _failure(self, digest: str) -> Path:
        return self.root / "failures" / f"{digest}.json"

    def _way(self, shape: str) -> Path:
        return self.root / "ways" / f"{_folder_name(shape)}.json"

    def _plan(self, plan: Plan) -> Path:
        return self.root / "plans" / _folder_name(plan.key)


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not the digest of a run.")
    return digest


def _folder_name(key: str) -> str:
    """``key`` where it is fit to name a folder; otherwise what is fit of it and a hash of the rest."""
    if _PLAIN_NAME.fullmatch(key):
        return key
    plain = re.sub(r"[^A-Za-z0-9_+-]+", "-", key).strip("-")[:80]
    return f"{plain or 'plan'}-{form.sha256(key.encode('utf-8', 'surrogatepass'))[:8]}"
