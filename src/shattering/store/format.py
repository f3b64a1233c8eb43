"""How a run looks on disk: plain JSON, JSON lines and Parquet, under one sealed list of checksums.

A sealed file holds its content and the content's SHA-256, and is read back only where every byte of it is the one that
follows from them: a cut or a flipped bit anywhere in it is noticed, the checksum included.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from shattering.core.errors import SpecError
from shattering.core.record import Record, Row, Status
from shattering.core.spec import NUMERICS_VERSION as NUMERICS_VERSION
from shattering.core.spec import RunSpec, StartSpec

SCHEMA_VERSION = 1
"""Layout of the store; a store of a newer one is refused."""

SPEC, RECORD, METRICS = "spec.json", "record.json", "metrics.jsonl"
EXAMPLES, TESTED, WEIGHTS, DONE = "examples.parquet", "tested.parquet", "weights.safetensors", "DONE"
_ALWAYS = (SPEC, RECORD, METRICS)
_BEGIN, _MIDDLE, _END = b'{\n "checksum": "', b'",\n "content": ', b"\n}\n"


class Damage(Exception):
    """A file is not what was written; the message says which and how."""


class Foreign(Exception):
    """A run is sound, but this version of the program cannot use it; the message says why."""


def seal(content: Any) -> bytes:
    """Readable JSON of ``content`` with its SHA-256."""
    body = json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()
    return _BEGIN + sha256(body).encode() + _MIDDLE + body.replace(b"\n", b"\n ") + _END


def unseal(data: bytes, name: str) -> Any:
    """What was sealed; raises `Damage` where any byte differs."""
    checksum = data[len(_BEGIN) : len(_BEGIN) + 64]
    head = _BEGIN + checksum + _MIDDLE
    deeper = data[len(head) : -len(_END)]
    body = deeper.replace(b"\n ", b"\n")  # no text in JSON has a line feed of its own
    framed = data.startswith(head) and data.endswith(_END) and body.replace(b"\n", b"\n ") == deeper
    if framed and sha256(body).encode() == checksum:
        with suppress(ValueError, RecursionError):
            return json.loads(body)
    raise Damage(f"{name} ({len(data):,} bytes) does not match its own checksum")


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def encode_run(record: Record, weights: bytes | None) -> dict[str, bytes]:
    """The files of a run's folder, the sealed list of checksums last."""
    digest = record.digest
    files = {
        SPEC: record.spec.to_json().encode("utf-8", "surrogatepass"),
        RECORD: (json.dumps(facts(record, digest), indent=1, sort_keys=True, allow_nan=False) + "\n").encode(),
        METRICS: "".join(json.dumps(_tamed(row), allow_nan=False) + "\n" for row in record.rows).encode(),
    }
    if record.examples:
        files[EXAMPLES] = _encode_columns(record.examples)
    if record.tested:
        files[TESTED] = _encode_columns(record.tested)
    if weights is not None:
        files[WEIGHTS] = weights
    listed = {name: {"sha256": sha256(data), "size": len(data)} for name, data in files.items()}
    files[DONE] = seal({"schema": SCHEMA_VERSION, "numerics": NUMERICS_VERSION, "digest": digest, "files": listed})
    return files


def decode_list(done: bytes | None, digest: str) -> dict[str, Any]:
    """The checksums of a run's files; raises `Damage` where the list is not sound or belongs to another run."""
    if done is None:
        raise Damage(f"{DONE} is missing")
    content = unseal(done, DONE)
    if content["digest"] != digest:
        raise Damage(f"the folder is named {digest}, but holds the run {content['digest']}")
    if content["schema"] > SCHEMA_VERSION:
        raise Foreign(f"it has schema {content['schema']}, this program knows up to {SCHEMA_VERSION}")
    missing = [name for name in _ALWAYS if name not in content["files"]]
    if missing:
        raise Damage(f"{DONE} does not list {missing[0]}")
    return dict(content)


def verify_file(name: str, data: bytes | None, listed: dict[str, Any]) -> bytes:
    """``data``, if it has the listed size and hash; raises `Damage` otherwise."""
    wanted = listed["files"][name]
    if data is None:
        raise Damage(f"{name} is missing")
    if len(data) != wanted["size"]:
        raise Damage(f"{name} has {len(data):,} bytes, {wanted['size']:,} were written")
    if sha256(data) != wanted["sha256"]:
        raise Damage(f"{name} does not match its checksum")
    return data


def lean_spec(spec: bytes) -> dict[str, Any]:
    """A spec as `encode_run` writes it without what is at its default, as the run's name is computed from it.

    Nothing is validated, and of a run selected from it is the whole spec that remains: see `is_spec_of`. One started
    from is written without its defaults.
    """
    lean: dict[str, Any] = {}
    for name, value in json.loads(spec).items():
        usual = _defaults().get(name)
        if value == usual:
            continue
        usual = usual or _start_defaults() if name == "start" else usual
        if isinstance(value, dict) and usual:
            value = {inner: entry for inner, entry in value.items() if inner not in usual or entry != usual[inner]}
        lean[name] = value
    return lean


def is_spec_of(digest: str, lean: dict[str, Any]) -> bool:
    """Whether a lean spec is that of a run: a quick look, certain where it says yes."""
    text = json.dumps({"numerics": NUMERICS_VERSION, "spec": lean}, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode())[:32] == digest


@cache
def _defaults() -> dict[str, Any]:
    return RunSpec().model_dump(mode="json")


@cache
def _start_defaults() -> dict[str, Any]:
    return StartSpec(parent=RunSpec()).model_dump(mode="json", exclude={"parent"})


def decode_run(digest: str, listed: dict[str, Any], files: Mapping[str, bytes]) -> Record:
    """The record in verified files, with columns of examples where theirs are among them.

    Raises `Foreign` for a run of other numerics or an unknown spec.
    """
    if listed["numerics"] != NUMERICS_VERSION:
        raise Foreign(
            f"it was computed with numerics version {listed['numerics']}, this program has {NUMERICS_VERSION}"
        )
    try:
        parsed = RunSpec.from_json(files[SPEC].decode("utf-8", "surrogatepass"))
    except SpecError as error:
        raise Foreign(f"its spec is not understood: {error.message}") from None
    if parsed.digest != digest:
        raise Damage(f"{SPEC} is the spec of the run {parsed.digest}")
    rows = tuple(untamed(json.loads(line)) for line in files[METRICS].decode().splitlines())
    columns = {name: _decode_columns(files[name]) for name in (EXAMPLES, TESTED) if name in files}
    return _from_facts(parsed, json.loads(files[RECORD]), rows, columns.get(EXAMPLES, {}), columns.get(TESTED, {}))


def encode_failure(record: Record) -> bytes:
    """One sealed file for a run that failed."""
    spec = record.spec.model_dump(mode="json")
    return seal({"spec": spec, "record": facts(record, record.digest), "rows": [_tamed(row) for row in record.rows]})


def decode_failure(data: bytes, digest: str) -> Record:
    """The failed run; raises `Damage` or `Foreign`."""
    from shattering.core.spec import parse_spec

    content = unseal(data, "the failure's file")
    try:
        spec = parse_spec(content["spec"])
    except SpecError as error:
        raise Foreign(f"its spec is not understood: {error.message}") from None
    if spec.digest != digest:
        raise Damage(f"it is the failure of the run {spec.digest}")
    return _from_facts(spec, content["record"], tuple(untamed(row) for row in content["rows"]), {}, {})


def facts(record: Record, digest: str) -> dict[str, Any]:
    """What `RECORD` holds of the run ``digest``: everything but the spec, the snapshots and the examples."""
    return {
        "digest": digest,
        "status": record.status.value,
        "summary": _tamed(record.summary),
        "units": record.units,
        "weights_sha256": record.weights_sha256,
        "provenance": jsonable(record.provenance),
        "error": jsonable(record.error),
    }


def _from_facts(
    spec: RunSpec, facts: dict[str, Any], rows: tuple[Row, ...], examples: dict[str, Any], tested: dict[str, Any]
) -> Record:
    return Record(
        spec=spec,
        status=Status(facts["status"]),
        rows=rows,
        summary=untamed(facts["summary"]),
        units=facts["units"],
        weights_sha256=facts["weights_sha256"],
        examples=examples,
        tested=tested,
        provenance=facts["provenance"],
        error=facts["error"],
    )


def _tamed(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them: exact by their shortest form, ``"nan"``, ``"inf"`` and ``"-inf"`` as words."""
    tame = {}
    for name, value in numbers.items():
        plain = value.item() if hasattr(value, "item") else value
        tame[name] = str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain
    return tame


def untamed(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers that were written: words such as ``"nan"`` are floats again."""
    return {name: float(value) if isinstance(value, str) else value for name, value in numbers.items()}


def jsonable(value: Any) -> Any:
    """``value`` in JSON's own types; what JSON has no type for becomes text."""
    if isinstance(value, dict):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def _encode_columns(columns: dict[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), sink)
    return bytes(sink.getvalue().to_pybytes())


def _decode_columns(data: bytes) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(data))
    return {name: table.column(name).to_numpy() for name in table.column_names}
