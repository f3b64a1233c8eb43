"""The data of an audit, in every form they may come in: splits that a worker loads by path, or one clear refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset

from shattering.core.errors import DataError
from shattering.core.spec import BatchPart
from shattering.data import given
from shattering.data.images import encode_png
from shattering.data.load import load_data
from shattering.data.subject import Gathered, gather
from shattering.models.adapted import arguments_of

N, CLASSES = 60, 3
LABELS = np.arange(N) % CLASSES
FEATURES = (np.arange(N * 4).reshape(N, 4) / 7).astype(np.float32)
TEXT = [f"{'ab'[place % 2]}" for place in range(N)]
IDS = np.arange(N * 5).reshape(N, 5) % 97


class Items(Dataset[Any]):
    """A map-style data set of whatever a function gives for a place."""

    def __init__(self, item: Callable[[int], Any], length: int = N) -> None:
        self.item, self.length = item, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> Any:
        if place >= self.length:
            raise IndexError(place)
        return self.item(place)


class Endless(IterableDataset[Any]):
    """Examples without end, or so many."""

    def __init__(self, length: float = float("inf")) -> None:
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while place < self.length:
            yield torch.from_numpy(FEATURES[place % N]), int(LABELS[place % N])
            place += 1


class Text:
    """Token ids of several lengths, padded by the loader."""

    @staticmethod
    def item(place: int) -> dict[str, Any]:
        return {"input_ids": torch.arange(1 + place % 4) + place, "label": place % CLASSES}

    @staticmethod
    def pad(items: list[dict[str, Any]]) -> dict[str, Any]:
        ids = torch.nn.utils.rnn.pad_sequence([item["input_ids"] for item in items], batch_first=True)
        return {"input_ids": ids, "attention_mask": ids > 0, "labels": torch.tensor([item["label"] for item in items])}


def features(gathered: Gathered) -> np.ndarray[Any, Any]:
    return np.concatenate([gathered.splits.train.inputs, gathered.splits.test.inputs])


SAME: dict[str, Callable[[Path], Any]] = {
    "arrays": lambda folder: (FEATURES, LABELS),
    "one-hot": lambda folder: (FEATURES, np.eye(CLASSES)[LABELS]),
    "float labels": lambda folder: (FEATURES, LABELS.astype(np.float64)),
    "text labels": lambda folder: (FEATURES, [f"class {label}" for label in LABELS]),
    "tensors": lambda folder: (torch.from_numpy(FEATURES), torch.from_numpy(LABELS)),
    "a dict": lambda folder: {"features": FEATURES, "target": LABELS},
    "a data set": lambda folder: TensorDataset(torch.from_numpy(FEATURES), torch.from_numpy(LABELS)),
    "a data set of arrays": lambda folder: Items(lambda place: (FEATURES[place], LABELS[place])),
    "a data set of dicts": lambda folder: Items(lambda place: {"x": FEATURES[place], "label": LABELS[place]}),
    "a list": lambda folder: [(row, label) for row, label in zip(FEATURES, LABELS, strict=True)],
    "a loader with workers": lambda folder: DataLoader(
        TensorDataset(torch.from_numpy(FEATURES), torch.from_numpy(LABELS)), batch_size=7, shuffle=True, num_workers=2
    ),
    "an iterable data set": lambda folder: Endless(N),
    "a loader of an iterable data set": lambda folder: DataLoader(Endless(N), batch_size=7),
    "a generator of batches": lambda folder: (
        (FEATURES[start : start + 7], LABELS[start : start + 7]) for start in range(0, N, 7)
    ),
    "a file of arrays": lambda folder: written(folder, x_train=FEATURES, y_train=LABELS),
}


def written(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "given.npz", **arrays)
    return str(folder / "given.npz")


@pytest.mark.parametrize("form", SAME)
def test_every_form_of_the_same_examples_gives_the_same_splits(form: str, tmp_path: Path) -> None:
    wanted = gather((FEATURES, LABELS), folder=tmp_path / "audit")
    found = gather(SAME[form](tmp_path), folder=tmp_path / "audit")
    assert found.splits.fingerprint == wanted.splits.fingerprint
    assert found.data == wanted.data  # so that a resume finds its runs
    assert found.held_out and found.batch == ()
    assert load_data(found.data).fingerprint == found.splits.fingerprint


def test_a_fifth_of_each_class_is_held_out_once(tmp_path: Path) -> None:
    found = gather((FEATURES, LABELS), folder=tmp_path)
    assert np.bincount(found.splits.test.labels).tolist() == [4, 4, 4]
    assert sorted(features(found)[:, 0].tolist()) == sorted(FEATURES[:, 0].tolist())
    half = gather((FEATURES, LABELS), folder=tmp_path, held_out=0.5)
    assert len(half.splits.test) == 30
    assert set(found.splits.test.inputs[:, 0].tolist()) <= set(half.splits.test.inputs[:, 0].tolist())


def test_a_class_of_one_example_stays_in_the_training_split(tmp_path: Path) -> None:
    found = gather((FEATURES, np.where(np.arange(N) == 7, 2, LABELS % 2)), folder=tmp_path)
    assert np.bincount(found.splits.train.labels)[2] == 1 and 2 not in found.splits.test.labels
    assert found.splits.train.num_classes == 3
    assert found.notes == ("1 class of one example stays in the training split",)
    assert load_data(found.data).fingerprint == found.splits.fingerprint  # as a worker reads it
    most = gather((FEATURES[:6], LABELS[:6]), folder=tmp_path, held_out=0.9)
    assert np.bincount(most.splits.train.labels).tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="2 examples in 2 classes"):
        gather((FEATURES[:2], LABELS[:2]), folder=tmp_path)


def test_four_rows_are_enough(tmp_path: Path) -> None:
    found = gather(text(tmp_path / "four.csv", "u,label\n1,0\n2,1\n3,1\n4,1\n"), folder=tmp_path / "audit")
    assert sorted(found.splits.train.labels.tolist()) == [0, 1, 1] and found.splits.test.labels.tolist() == [1]


def test_a_test_split_may_lack_classes(tmp_path: Path) -> None:
    few = LABELS > 0
    apart = gather((FEATURES, LABELS), (FEATURES[few], LABELS[few]), folder=tmp_path)
    inside = gather(
        written(tmp_path, x_train=FEATURES, y_train=LABELS, x_test=FEATURES[few], y_test=LABELS[few]), folder=tmp_path
    )
    assert apart.splits.fingerprint == inside.splits.fingerprint == load_data(apart.data).fingerprint
    assert apart.splits.test.num_classes == CLASSES and sorted(set(apart.splits.test.labels)) == [1, 2]
    with pytest.raises(DataError, match="Class 0 has no example in the test split"):
        load_data(str(tmp_path / "given.npz"))


def test_a_test_folder_may_lack_classes(tmp_path: Path) -> None:
    for place in range(24):
        for root, names in (("parted/train", "abc"), ("parted/test", "ac"), ("flat", "abc"), ("odd", "ad")):
            path = tmp_path / root / names[place % len(names)] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.full((4, 5, 3), 10 * place, dtype=np.uint8)))
    parted = gather(tmp_path / "parted", folder=tmp_path / "audit")
    apart = gather(tmp_path / "flat", tmp_path / "parted" / "test", folder=tmp_path / "audit")
    assert parted.splits.fingerprint == apart.splits.fingerprint == load_data(parted.data).fingerprint
    assert parted.splits.train.class_names == parted.splits.test.class_names == ("a", "b", "c")
    assert parted.splits.test.labels.tolist() == [0] * 12 + [2] * 12
    with pytest.raises(DataError) as told:
        gather(tmp_path / "flat", tmp_path / "odd", folder=tmp_path / "audit")
    assert told.value.identifier == "data-class-missing"
    with pytest.raises(DataError, match="lacks the class folder 'b'"):
        load_data(str(tmp_path / "parted"))


def test_labels_from_one_are_counted_from_zero(tmp_path: Path) -> None:
    rows = "".join(f"{place},{place % 3 + 1}\n" for place in range(N))
    forms = {
        "arrays": (FEATURES, LABELS + 1),
        "floats": (FEATURES, LABELS + 1.0),
        "both splits": {"train": (FEATURES, LABELS + 1), "test": (FEATURES[1:], LABELS[1:] + 1)},
        "one class not tested": {"train": (FEATURES, LABELS + 1), "test": (FEATURES[:2], LABELS[:2] + 1)},
        "a table": text(tmp_path / "a.csv", f"u,label\n{rows}"),
    }
    for form, data in forms.items():
        found = gather(data, folder=tmp_path / "audit")
        assert found.splits.train.num_classes == CLASSES, form
        assert found.splits.train.class_names == ("1", "2", "3"), form
        assert any("labels 1 … 3 were taken as 0 … 2" in note for note in found.notes), form
    zero = gather((FEATURES, LABELS), folder=tmp_path / "audit")
    assert zero.splits.train.class_names == () and not any("taken as" in note for note in zero.notes)
    with pytest.raises(DataError, match="Class 0 has no example in the training split"):
        gather({"train": (FEATURES, LABELS + 1), "test": (FEATURES, LABELS)}, folder=tmp_path / "audit")


def test_text_labels_of_objects(tmp_path: Path) -> None:
    wanted = gather((FEATURES, TEXT), folder=tmp_path)
    for labels in (np.array(TEXT, dtype=object), np.array(TEXT, dtype=object)[:, None]):
        assert gather((FEATURES, labels), folder=tmp_path).splits.fingerprint == wanted.splits.fingerprint
    numbers = gather((FEATURES, LABELS.astype(object)), folder=tmp_path)
    assert numbers.splits.fingerprint == gather((FEATURES, LABELS), folder=tmp_path).splits.fingerprint


def test_zeros_of_either_sign_are_copies(tmp_path: Path) -> None:
    rows = FEATURES.copy()
    rows[4, 2], rows[5] = 0.0, rows[4]
    rows[5, 2] = -0.0
    found = gather({"train": (rows[:50], LABELS[:50]), "test": (rows[40:], LABELS[40:])}, folder=tmp_path)
    assert any(note.startswith("1 training examples are exact copies of an earlier one with") for note in found.notes)


def test_that_examples_were_held_out_is_left_to_the_report(tmp_path: Path) -> None:
    assert not any("held out" in note for note in gather((FEATURES, LABELS), folder=tmp_path).notes)


def test_test_data_are_taken_where_they_are_given(tmp_path: Path) -> None:
    apart = gather((FEATURES, LABELS), (FEATURES[:9] + 1000, LABELS[:9]), folder=tmp_path)
    together = gather({"train": (FEATURES, LABELS), "validation": (FEATURES[:9] + 1000, LABELS[:9])}, folder=tmp_path)
    inside = gather(
        written(tmp_path, x_train=FEATURES, y_train=LABELS, x_test=FEATURES[:9] + 1000, y_test=LABELS[:9]),
        folder=tmp_path,
    )
    assert not apart.held_out
    assert {g.splits.fingerprint for g in (apart, together, inside)} == {apart.splits.fingerprint}
    with pytest.raises(DataError) as told:
        gather((FEATURES, LABELS), {"a": FEATURES, "b": FEATURES, "y": LABELS}, folder=tmp_path)
    assert told.value.identifier == "data-parts-differ" and "prepare both" in told.value.message


def test_a_tokenised_batch_is_packed_and_cut_again(tmp_path: Path) -> None:
    mask = (IDS % 3 > 0).astype(np.int64)
    data = {"input_ids": IDS, "attention_mask": mask, "weight": FEATURES[:, 0], "labels": LABELS}
    found = gather(data, folder=tmp_path)
    assert [(part.name, part.shape, part.dtype) for part in found.batch] == [
        ("input_ids", (5,), "int64"),
        ("attention_mask", (5,), "int64"),
        ("weight", (), "float"),
    ]
    assert found.model_fields == {"batch": found.batch}
    given_, named = arguments_of(torch.from_numpy(np.array(found.splits.test.inputs)), found.batch)
    rows = [int(np.flatnonzero((row.numpy() == IDS).all(axis=1))[0]) for row in named["input_ids"]]
    assert given_ == [] and named["input_ids"].dtype == torch.int64
    assert LABELS[rows].tolist() == found.splits.test.labels.tolist()
    assert np.array_equal(named["attention_mask"].numpy(), mask[rows])
    assert np.array_equal(named["weight"].numpy(), FEATURES[rows, 0])
    again = gather(written(tmp_path, **data), folder=tmp_path)
    assert (again.splits.fingerprint, again.batch) == (found.splits.fingerprint, found.batch)


def test_a_loader_that_pads_gives_one_length(tmp_path: Path) -> None:
    loader = DataLoader(Items(Text.item), batch_size=4, collate_fn=Text.pad)
    found = gather(loader, folder=tmp_path)
    assert [(part.name, part.shape, part.dtype) for part in found.batch] == [
        ("input_ids", (4,), "int64"),
        ("attention_mask", (4,), "bool"),
    ]


def test_tensors_keep_their_shape_and_integers_stay_integers(tmp_path: Path) -> None:
    def batch_of(*tensors: torch.Tensor) -> tuple[BatchPart, ...]:
        return gather(TensorDataset(*tensors, torch.from_numpy(LABELS)), folder=tmp_path).batch

    assert batch_of(torch.zeros(N, 4, 9)) == (BatchPart(shape=(4, 9)),)
    assert batch_of(torch.from_numpy(IDS)) == (BatchPart(shape=(5,), dtype="int64"),)
    assert [part.name for part in batch_of(torch.from_numpy(IDS), torch.ones(N, 2))] == ["", ""]
    images = gather(TensorDataset(torch.rand(N, 3, 4, 5), torch.from_numpy(LABELS)), folder=tmp_path)
    assert images.batch == () and images.splits.facts.input_shape == (4, 5, 3)


def test_a_loaders_part_of_a_data_set_is_kept_to(tmp_path: Path) -> None:
    whole = TensorDataset(torch.from_numpy(FEATURES), torch.from_numpy(LABELS))
    found = gather(DataLoader(whole, sampler=SubsetRandomSampler(range(30))), folder=tmp_path)
    assert features(found).max() == FEATURES[:30].max()


def test_random_transforms_are_read_once_and_the_same_every_time(tmp_path: Path) -> None:
    def item(place: int) -> Any:
        return torch.rand(3) + place, place % CLASSES

    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = gather(Items(item), folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert gather(Items(item), folder=tmp_path).splits.fingerprint == found.splits.fingerprint
    assert any("random augmentation" in note for note in found.notes)


def test_tables_in_files(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = ["a,b,species", *(f"{place},{place / 2},{'xyz'[place % 3]}" for place in range(N))]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "table.tsv").write_text("\n".join(lines).replace(",", "\t") + "\n")
    columns = {"a": np.arange(N), "b": np.arange(N) / 2, "species": ["xyz"[place % 3] for place in range(N)]}
    (tmp_path / "shards").mkdir()
    for half, rows in enumerate((slice(0, 20), slice(20, N))):
        part = {name: values[rows] for name, values in columns.items()}
        pq.write_table(pa.table(part), tmp_path / "shards" / f"{half}.parquet")
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    files = ("table.csv", "table.tsv", "table.parquet", "shards")
    found = [gather(tmp_path / name, folder=tmp_path / "audit", label="species") for name in files]
    assert {each.splits.fingerprint for each in found} == {found[0].splits.fingerprint}
    assert found[0].splits.train.class_names == ("x", "y", "z") == load_data(found[0].data).train.class_names
    lists = {"input_ids": IDS.tolist(), "text": ["left out"] * N, "label": LABELS}
    pq.write_table(pa.table(lists), tmp_path / "lists.parquet")
    tokens = gather(tmp_path / "lists.parquet", folder=tmp_path / "audit")
    assert tokens.batch == (BatchPart(shape=(5,), dtype="int64"),) and "1 column of text" in tokens.notes[0]


def test_a_folder_of_images_with_and_without_a_test_part(tmp_path: Path) -> None:
    for place in range(20):
        for root in ("flat", "parted/train", "parted/test", "lonely/train"):
            path = tmp_path / root / "ab"[place % 2] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.full((4, 5, 3), 10 * place, dtype=np.uint8)))
    flat, lonely = (gather(tmp_path / name, folder=tmp_path / "audit") for name in ("flat", "lonely"))
    parted = gather(tmp_path / "parted", folder=tmp_path / "audit")
    assert flat.splits.fingerprint == lonely.splits.fingerprint and flat.held_out
    assert not parted.held_out and parted.data == str(tmp_path / "parted")
    apart = gather(tmp_path / "flat", tmp_path / "parted" / "test", folder=tmp_path / "audit")
    assert apart.splits.fingerprint == parted.splits.fingerprint
    for each in (flat, parted, apart):
        assert each.splits.facts.input_shape == (4, 5, 3) and each.splits.train.class_names == ("a", "b")
        assert load_data(each.data).train.class_names == ("a", "b")


def test_registered_data_are_left_where_they_are(tmp_path: Path) -> None:
    found = gather("digits", folder=tmp_path)
    assert (found.data, found.held_out, list(tmp_path.iterdir())) == ("digits", False, [])


REFUSED: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "nothing": (lambda folder: None, "data-form", "NoneType"),
    "an object": (lambda folder: object(), "data-form", "give arrays (X, y)"),
    "no file": (lambda folder: str(folder / "absent.csv"), "data-missing", "absent.csv"),
    "a text file": (lambda folder: text(folder / "notes.md", "# notes"), "data-form", "notes.md"),
    "no column of labels": (lambda folder: text(folder / "a.csv", "u,v\n1,2\n"), "data-column-missing", "u, v"),
    "a column of text": (
        lambda folder: text(folder / "a.csv", "u,label\nred,1\nblue,0\n"),
        "data-column-type",
        "'u'",
    ),
    "an empty cell": (lambda folder: text(folder / "a.csv", "u,label\n1,1\n,0\n"), "data-null", "Row 1"),
    "a row too long": (lambda folder: text(folder / "a.csv", "u,label\n1,1\n1,2,3\n"), "data-csv-damaged", "a.csv"),
    "a page instead of data": (lambda folder: text(folder / "a.csv", "<!doctype html>"), "data-html", "web page"),
    "labels missing": (lambda folder: {"a": FEATURES, "b": FEATURES}, "data-column-missing", "a, b"),
    "items without labels": (lambda folder: Items(lambda place: FEATURES[place]), "data-item", "(x, y)"),
    "labels too few": (lambda folder: (FEATURES, LABELS[:9]), "data-count-mismatch", "(9,)"),
    "a measured target": (lambda folder: (FEATURES, FEATURES[:, 0]), "data-labels-fractional", "60 different values"),
    "one class": (lambda folder: (FEATURES, np.zeros(N)), "data-one-class", "two classes"),
    "a gap in the classes": (lambda folder: (FEATURES, LABELS * 2), "data-class-missing", "Class 1"),
    "a class without training examples": (
        lambda folder: {"train": (FEATURES, LABELS % 2), "test": (FEATURES, LABELS)},
        "data-class-missing",
        "Class 2 has no example in the training split",
    ),
    "text labels without training examples": (
        lambda folder: {"train": (FEATURES, TEXT), "test": (FEATURES, [*TEXT[1:], "c"])},
        "data-class-missing",
        "Class 2 (c) has no example in the training split",
    ),
    "an empty column of one-hot labels": (
        lambda folder: (FEATURES, np.eye(CLASSES + 1)[LABELS + 1]),
        "data-class-missing",
        "Class 0",
    ),
    "a name for a class 0 that is not there": (
        lambda folder: written(folder, x_train=FEATURES, y_train=LABELS + 1, class_names=np.array(list("abcd"))),
        "data-class-missing",
        "Class 0 (a)",
    ),
    "an empty label": (
        lambda folder: text(folder / "a.csv", "u,label\n1,yes\n2,\n3,no\n"),
        "data-null",
        "Row 1 of column 'label' of",
    ),
    "a missing label in a table": (
        lambda folder: frame([None if row == 3 else label for row, label in enumerate(TEXT)]),
        "data-null",
        "Row 3 of column 'label' of data",
    ),
    "a missing number among the labels of a table": (
        lambda folder: frame([float("nan") if row == 3 else float(label) for row, label in enumerate(LABELS)]),
        "data-null",
        "Row 3 of column 'label' of data",
    ),
    "text and numbers as labels of a table": (
        lambda folder: frame([5 if row == 3 else label for row, label in enumerate(TEXT)]),
        "data-labels-type",
        "Row 3 of column 'label' of data is 5 where the first is 'a'",
    ),
    "text and numbers as labels": (
        lambda folder: (FEATURES, [5 if row == 3 else label for row, label in enumerate(TEXT)]),
        "data-labels-type",
        "Label 3 of data is 5 where the first is 'a'",
    ),
    "text and numbers as labels of examples": (
        lambda folder: Items(lambda place: (FEATURES[place], 5 if place == 3 else TEXT[place])),
        "data-labels-type",
        "Label 3 of data is 5 where the first is 'a'",
    ),
    "objects as labels": (
        lambda folder: (FEATURES, np.array([{"a": 1}] * N, dtype=object)),
        "data-labels-type",
        "Label 0 of data is of type dict",
    ),
    "a missing label": (
        lambda folder: (FEATURES, np.array([*TEXT[1:], None], dtype=object)),
        "data-null",
        f"Label {N - 1} of data",
    ),
    "several columns of text labels": (
        lambda folder: (FEATURES, np.array([TEXT, TEXT]).T),
        "data-labels-shape",
        f"text of shape ({N}, 2)",
    ),
    "too few to hold any out": (
        lambda folder: text(folder / "three.csv", "u,label\n1,0\n2,1\n3,1\n"),
        "data-too-few",
        "three.csv has 3 examples in 2 classes; to hold out a test part, one class must have two and at least 3 must "
        "be left to train on",
    ),
    "semicolons": (
        lambda folder: text(folder / "a.csv", "u;v;label\n1,5;2;0\n2,5;3;1\n"),
        "data-csv-separator",
        "seems to be ';', not ','; save it with commas",
    ),
    "commas between tabs": (
        lambda folder: text(folder / "a.tsv", "u,label\n1,0\n"),
        "data-csv-separator",
        "seems to be ',', not a tab; save it with tabs",
    ),
    "no column by the usual names": (
        lambda folder: text(folder / "a.csv", "u,v\n1,2\n"),
        "data-column-missing",
        "'target', 'targets', 'y', 'class' or 'fine_label' (it has: u, v); name the one that holds the labels with "
        "--label (in Python `label=`)",
    ),
    "NaN": (lambda folder: (np.where(FEATURES > 30, np.nan, FEATURES), LABELS), "data-nan", "first in example"),
    "ragged rows": (lambda folder: ([[1.0], [1.0, 2.0]] * 30, LABELS), "data-ragged", "pad"),
    "a ragged dict batch": (lambda folder: Items(Text.item), "data-ragged", "Example 1 of data has input_ids"),
    "an item that fails": (
        lambda folder: Items(lambda place: (1 / (place - 5), place % 2)),
        "data-item-fails",
        "Example 5",
    ),
    "text alone": (lambda folder: Items(lambda place: {"text": "a", "label": place % 2}), "data-dtype", "str"),
    "no examples": (lambda folder: Items(lambda place: (), 0), "data-too-few", "no examples"),
    "ids too large": (
        lambda folder: {"input_ids": IDS + 2**24, "labels": LABELS},
        "data-integers-inexact",
        "16,777,216",
    ),
    "an endless iterable": (lambda folder: Endless(), "data-endless", "after 500 examples"),
    "a collate function that fails": (
        lambda folder: DataLoader(Items(Text.item), collate_fn=lambda items: torch.stack(items)),
        "data-collate-fails",
        "TypeError",
    ),
}


def frame(labels: list[Any]) -> Any:
    """A table of pandas, its labels in a column of whatever they are."""
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"a": FEATURES[:, 0], "b": FEATURES[:, 1], "label": labels})


def text(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_audited_is_refused_in_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "ENDLESS", 500)
    data, identifier, part = REFUSED[case]
    with pytest.raises(DataError) as told:
        gather(data(tmp_path), folder=tmp_path / "audit")
    assert (told.value.identifier, told.value.exit_code) == (identifier, 3)
    assert part in told.value.message and "\n" not in told.value.message
    assert not (tmp_path / "audit").exists()


def test_memory_is_estimated_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def item(place: int) -> Any:
        seen.append(place)
        return np.zeros(1000), place % 2

    monkeypatch.setenv("SHATTERING_MEMORY_BYTES", "1000000")
    with pytest.raises(DataError) as told:
        gather(Items(item, 10_000), folder=tmp_path)
    assert told.value.identifier == "data-memory" and len(seen) <= 2


def test_a_damaged_copy_is_written_again(tmp_path: Path) -> None:
    found = gather((FEATURES, LABELS), folder=tmp_path)
    Path(found.data).write_bytes(b"cut")
    again = gather((FEATURES, LABELS), folder=tmp_path)
    assert load_data(again.data).fingerprint == found.splits.fingerprint
