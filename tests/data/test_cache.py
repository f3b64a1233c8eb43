from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import data_writers as write
import numpy as np
import pytest

import shattering.data.cache as cache
from shattering.data.load import load_data
from shattering.data.parquet import read_parquet_images


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per time that Parquet is really decoded."""
    calls: list[str] = []
    real = read_parquet_images

    def read(path: Path, *args: Any) -> Any:
        calls.append(path.name)
        return real(path, *args)

    monkeypatch.setattr("shattering.data.cifar.read_parquet_images", read)
    monkeypatch.setattr(cache, "_verified", set())
    return calls


def entry(folder: Path) -> Path:
    (found,) = (folder / "decoded").iterdir()
    return found


def test_the_second_load_is_from_the_cache_and_equal(tmp_path: Path, own_cache: Path, decoded: list[str]) -> None:
    write.write_cifar_parquet(tmp_path, encode=write.jpeg_bytes)
    first, second = load_data("cifar10", tmp_path), load_data("cifar10", tmp_path)
    assert decoded == ["train.parquet", "test.parquet"]
    assert first.fingerprint == second.fingerprint
    for ours, theirs in ((first.train, second.train), (first.test, second.test)):
        for name in ("num_classes", "name", "split", "divisor", "class_names", "moments", "notes"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert not theirs.inputs.flags.writeable


def test_other_bytes_are_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    write.write_cifar_parquet(tmp_path)
    plain = load_data("cifar10", tmp_path)
    write.write_cifar_parquet(tmp_path, encode=write.jpeg_bytes)
    assert load_data("cifar10", tmp_path).fingerprint != plain.fingerprint
    assert len(decoded) == 4


def test_a_copy_elsewhere_uses_the_same_entry(tmp_path: Path, own_cache: Path, decoded: list[str]) -> None:
    for place in ("a", "b"):
        write.write_cifar_parquet(tmp_path / place / "cifar10")
        load_data("cifar10", tmp_path / place)
    assert len(decoded) == 2 and entry(own_cache).is_dir()


@pytest.mark.parametrize("name", ["entry.json", "train_inputs.npy", "train_labels.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_damage_is_found_and_repaired(
    tmp_path: Path, own_cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    write.write_cifar_parquet(tmp_path)
    sound = load_data("cifar10", tmp_path).fingerprint
    path = entry(own_cache) / name
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes({"flip": bytes(data), "cut": bytes(data[:-1]), "empty": b""}[damage])
    monkeypatch.setattr(cache, "_verified", set())
    for loads in (4, 4):
        assert load_data("cifar10", tmp_path).fingerprint == sound
        assert len(decoded) == loads


def test_an_entry_that_lies_about_itself_is_not_used(tmp_path: Path, own_cache: Path, decoded: list[str]) -> None:
    write.write_cifar_parquet(tmp_path)
    load_data("cifar10", tmp_path)
    path = entry(own_cache) / "entry.json"
    for text in ("[]", "{}", json.dumps({"body": 3, "sha256": ""}), json.dumps({"body": "{}", "sha256": "0"}), "\xff"):
        path.write_text(text)
        load_data("cifar10", tmp_path)
    assert len(decoded) == 12


def test_arrays_of_objects_in_the_cache_are_never_unpickled(
    tmp_path: Path, own_cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    write.write_cifar_parquet(tmp_path)
    load_data("cifar10", tmp_path)
    np.save(entry(own_cache) / "train_labels.npy", np.array([Canary()], dtype=object))
    # Even with a checksum that agrees.
    monkeypatch.setattr(
        cache, "_verified", {(str(path), path.stat().st_mtime_ns) for path in entry(own_cache).iterdir()}
    )
    load_data("cifar10", tmp_path)
    assert len(decoded) == 4 and not (tmp_path / "canary").exists()


def test_a_cache_that_cannot_be_written_is_not_used(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "file"))
    write.write_cifar_parquet(tmp_path)
    assert load_data("cifar10", tmp_path).fingerprint == load_data("cifar10", tmp_path).fingerprint
    assert len(decoded) == 4


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, own_cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    write.write_cifar_parquet(tmp_path)
    load_data("cifar10", tmp_path)
    assert list((own_cache / "decoded").iterdir()) == []
