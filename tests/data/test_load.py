from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import data_writers as write
import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError
from shattering.data.dataset import datasets
from shattering.data.load import load_data


def test_the_built_in_data_sets_are_registered() -> None:
    assert {"digits", "mnist", "cifar10", "cifar100"} <= set(datasets.names())


def test_names_are_looked_for_in_order(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path / "named"))
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError) as caught:
        load_data("mnist", tmp_path / "given")
    text = caught.value.message
    searched = [str(tmp_path / "given"), str(tmp_path / "named"), str(own_cache / "data")]
    assert [text.index(place) for place in searched] == sorted(text.index(place) for place in searched)
    for place, size in ((own_cache / "data" / "mnist", 20), (tmp_path / "named", 10), (tmp_path / "given", 11)):
        write.write_mnist(place, zipped=(False,) * 4)
        images, labels = write.examples(size, (28, 28))
        (place / "train-images-idx3-ubyte").write_bytes(write.idx_bytes(images))
        (place / "train-labels-idx1-ubyte").write_bytes(write.idx_bytes(labels.astype(np.uint8)))
        assert len(load_data("mnist", tmp_path / "given").train) == size


def test_a_given_folder_that_is_absent_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a misspelt folder would be answered with the data of another."""
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path / "named"))
    write.write_mnist(tmp_path / "named")
    assert load_data("mnist").train.name == "mnist"
    with pytest.raises(DataError, match=r"no folder .*gvien, which --data-dir") as caught:
        load_data("mnist", tmp_path / "gvien")
    assert caught.value.identifier == "data-missing"
    assert load_data("digits", tmp_path / "gvien").train.name == "digits"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match="mnist"):
        load_data("mnits")


def test_paths_are_read_by_their_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npz = write.write_npz(tmp_path / "mine.npz")
    assert load_data(str(npz)).train.name == "mine"
    pets = load_data(str(write.write_folder(tmp_path / "pets")))
    assert pets.train.name == "pets" and pets.train.class_names == ("cat", "dog") and len(pets.test) == 6
    assert load_data(str(write.write_cifar_parquet(tmp_path / "photos"))).train.name == "photos"
    assert load_data(str(write.write_cifar_parquet(tmp_path / "cifar10"))).train.name == "cifar10"
    assert load_data(str(write.write_mnist(tmp_path / "elsewhere"))).train.name == "mnist"
    monkeypatch.chdir(tmp_path)
    assert load_data("pets").fingerprint == pets.fingerprint
    assert load_data("mine.npz").train.name == "mine"


def test_the_validation_folder_may_stand_for_the_test_folder(tmp_path: Path) -> None:
    write.write_folder(tmp_path / "a" / "pets")
    write.write_folder(tmp_path / "b" / "pets")
    (tmp_path / "b" / "pets" / "test").rename(tmp_path / "b" / "pets" / "val")
    assert load_data(str(tmp_path / "a" / "pets")).fingerprint == load_data(str(tmp_path / "b" / "pets")).fingerprint


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("train_inputs", "train_labels")])
def test_an_npz_file_may_lack_a_test_split(tmp_path: Path, names: tuple[str, str]) -> None:
    tree = write.arrays()
    np.savez_compressed(tmp_path / "mine.npz", **{names[0]: tree["x_train"], names[1]: tree["y_train"]})
    splits = load_data(str(tmp_path / "mine.npz"))
    assert len(splits.train) == 12 and len(splits.test) == 4
    assert "4 of 16 examples" in splits.facts.notes[0]


def test_fortran_order_makes_no_difference(tmp_path: Path) -> None:
    plain = load_data(str(write.write_npz(tmp_path / "a.npz")))
    turned = write.write_npz(tmp_path / "b.npz", x_train=np.asfortranarray(write.arrays()["x_train"]))
    assert load_data(str(turned)).fingerprint == plain.fingerprint


def test_folders_that_are_no_data_say_what_is_expected(tmp_path: Path) -> None:
    write.write_mnist(tmp_path / "mnist")
    with pytest.raises(DataError, match=r"train\.parquet.* It contains mnist: give that name") as caught:
        load_data(str(tmp_path))
    assert caught.value.identifier == "data-form"
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv is not a form of data"):
        load_data(str(tmp_path / "a.csv"))


def test_loading_does_not_depend_on_the_order_of_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write.write_folder(tmp_path / "pets")
    plain = load_data(str(root)).fingerprint
    real = os.scandir

    class Reversed:
        def __init__(self, path: object) -> None:
            with real(path) as scan:  # type: ignore[call-overload]
                self.entries = sorted(scan, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> object:
            return iter(self.entries)

        def __exit__(self, *parts: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "other"))
    assert load_data(str(root)).fingerprint == plain


def test_listing_data_sets_imports_nothing_heavy() -> None:
    heavy = ("torch", "sklearn", "pyarrow", "PIL", "scipy")
    code = (
        "import sys; from shattering.data.dataset import datasets; datasets.names(); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "train", "test"), [("mnist", 60000, 10000), ("cifar10", 50000, 10000)])
def test_the_real_data_load(name: str, train: int, test: int, real_data: Path) -> None:
    splits = load_data(name, real_data)
    assert (len(splits.train), len(splits.test), splits.train.num_classes) == (train, test, 10)
    again = load_data(name, real_data)
    assert again.fingerprint == splits.fingerprint
