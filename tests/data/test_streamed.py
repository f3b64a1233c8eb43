"""Folders of images that stay on the disk: what is listed, what is decoded, and what is refused."""

from __future__ import annotations

from pathlib import Path

import data_writers as write
import numpy as np
import pytest
import torch
from PIL import Image

from image_folders import write_images
from shattering.core.errors import DataError, SpecError
from shattering.core.spec import RunSpec, override
from shattering.corruptions.registry import corrupt
from shattering.data.image_files import TRIES, ImageFiles, crop_words
from shattering.data.load import load_data
from shattering.data.streamed import stream_folder
from shattering.execution.plan import plan_study
from shattering.execution.run import corrupted, execute
from shattering.training.evaluation import evaluate
from shattering.training.examples import prepare, training_batches
from shattering.training.streaming import require_streamable
from tiny_runs import facts, stop_at_step, stopped_and_resumed

SPEC = override(
    RunSpec(), {"data.image_size": 24, "data.whiten": False, "training.batch_size": 4, "model.name": "small_convnet"}
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("streamed") / "pets", classes=3, train=4, val=2, sides=(20, 40))


def files_of(root: Path) -> ImageFiles:
    files = stream_folder(root).train.files
    assert files is not None
    return files


def test_paths_and_labels_alone_are_in_memory(root: Path) -> None:
    splits = stream_folder(root)
    assert (len(splits.train), len(splits.test), splits.facts.num_classes) == (12, 6, 3)
    assert splits.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert splits.train.class_names == ("n000", "n001", "n002")
    assert splits.facts.streamed and splits.facts.name == "pets" and splits.train.is_image
    assert splits.train.inputs.nbytes < 12 * 40
    assert "identified by the contents of its files" in splits.facts.notes[-1]
    part = splits.train.take(np.array([5, 2]))
    assert part.files is not None and [part.files.path(row).name for row in (0, 1)] == ["1.JPEG", "2.png"]
    assert part.source_indices.tolist() == [5, 2]


def test_the_fingerprint_tells_contents_of_small_sets_and_sizes_of_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "pets", classes=2, train=2, val=1, sides=(10, 12))
    small = stream_folder(root).fingerprint
    monkeypatch.setattr("shattering.data.streamed.SMALL_BYTES", 0)
    large = stream_folder(root)
    assert "paths and sizes of its files, not their contents" in large.facts.notes[-1]
    victim = root / "train" / "n000" / "0.png"
    data = bytearray(victim.read_bytes())
    data[-20] ^= 1  # as long as before
    victim.write_bytes(data)
    assert stream_folder(root).fingerprint == large.fingerprint
    monkeypatch.undo()
    assert stream_folder(root).fingerprint not in (small, large.fingerprint)
    victim.write_bytes(bytes(data) + b"\0")
    monkeypatch.setattr("shattering.data.streamed.SMALL_BYTES", 0)
    assert stream_folder(root).fingerprint != large.fingerprint


def test_an_evaluation_sees_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[5:75, 45:115] = 200  # 87.5% of the shorter side, in the centre
    path = tmp_path / "train" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(path)
    files = ImageFiles(tmp_path, np.array([b"train/a/0.png"]), "", side=70)
    assert np.array_equal(files.central(0), np.full((70, 70, 3), 200))
    assert files[0].shape == (70, 70, 3) and files.brought_to(7).central(0).shape == (7, 7, 3)


def test_random_crops_depend_on_seed_epoch_and_file_alone(root: Path) -> None:
    files = files_of(root).brought_to(16)
    sources = np.arange(12)
    words = crop_words(3, 7, sources)
    assert words.shape == (12, 4 * TRIES + 4)
    assert np.array_equal(crop_words(3, 7, sources[[4, 2]]), words[[4, 2]])
    for other in (crop_words(4, 7, sources), crop_words(3, 8, sources)):
        assert not (other == words).all(axis=1).any()
    first = files.cropped(4, words[4])
    assert first.shape == (16, 16, 3) and np.array_equal(first, files.cropped(4, words[4]))
    flipped = words[4].copy()
    flipped[4 * TRIES] ^= 1
    assert np.array_equal(files.cropped(4, flipped), first[:, ::-1])


def test_crops_have_the_published_areas_and_aspects() -> None:
    from shattering.data.image_files import _box

    boxes = np.array([_box(500, 400, words) for words in crop_words(0, 0, np.arange(2000))])
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 500 and boxes[:, 3].max() <= 400
    area, aspect = wide * tall / (500 * 400), wide / tall
    # Sides are rounded to whole pixels.
    assert 0.078 < area.min() < 0.1 and area.max() > 0.9
    assert 0.74 < aspect.min() < 0.8 and 1.25 < aspect.max() < 1.35
    flips = crop_words(0, 0, np.arange(2000))[:, 4 * TRIES] & 1
    assert abs(flips.mean() - 0.5) < 0.05  # four standard deviations


def test_labels_are_drawn_once_for_each_file(root: Path) -> None:
    spec = override(SPEC, {"corruption.name": "random_labels"})
    splits = stream_folder(root)
    whole = corrupt(splits, spec).train
    part = corrupt(type(splits)(splits.train.take(np.array([7, 1])), splits.test), spec).train
    assert part.labels.tolist() == whole.labels[[7, 1]].tolist()
    assert whole.changed.any() and whole.files is splits.train.files


@pytest.mark.parametrize("augmentation", ["none", "resized_crop"])
def test_batches_are_the_same_however_they_are_asked_for(root: Path, augmentation: str) -> None:
    spec = override(SPEC, {"training.augmentation": augmentation})
    examples = prepare(corrupted(stream_folder(root), spec).train, spec, augmented=augmentation != "none")
    rows = list(torch.split(torch.arange(12).flip(0), 4))
    batches = list(training_batches(examples, spec, rows, 3, 9))
    assert [batch.shape for batch in batches] == [(4, 3, 24, 24)] * 3
    assert (
        -1 <= min(float(batch.min()) for batch in batches) < -0.5 < 0.5 < max(float(batch.max()) for batch in batches)
    )
    (again,) = training_batches(examples, spec, rows[1:2], 3, 100)
    assert torch.equal(again, batches[1])
    (later,) = training_batches(examples, spec, rows[1:2], 4, 100)
    assert torch.equal(later, again) == (augmentation == "none")
    assert torch.equal(examples.inputs[torch.tensor([2])], examples.inputs[:][2:3])


def test_few_batches_are_decoded_ahead(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shattering.training.streaming import AHEAD

    examples = prepare(stream_folder(root).train, SPEC)
    asked: list[int] = []
    plain = ImageFiles.central
    monkeypatch.setattr(ImageFiles, "central", lambda files, row: (asked.append(row), plain(files, row))[1])
    feed = training_batches(examples, SPEC, list(torch.split(torch.arange(12), 1)), 0, 0)
    next(feed)
    assert len(asked) <= AHEAD + 1
    feed.close()


@pytest.mark.parametrize("step", [1, 4])
def test_a_stopped_training_goes_on_to_the_bit(root: Path, step: int) -> None:
    changes = {"training.augmentation": "resized_crop", "training.max_steps": 7, "training.stop_when_fitted": False}
    spec = override(SPEC, {**changes, "measures.names": ("accuracy", "top5")})
    splits = stream_folder(root)
    whole, _ = execute(spec, splits)
    pieces = stopped_and_resumed(spec, stop_at_step(step), splits)
    assert pieces is not None and facts(pieces) == facts(whole)


def test_threads_leave_the_filters_of_warnings_alone(root: Path) -> None:
    import warnings

    before = list(warnings.filters)
    for _ in range(3):
        prepare(stream_folder(root).train, SPEC).inputs[:]
    assert warnings.filters == before


def test_whitened_images_have_mean_0_and_deviation_1(root: Path) -> None:
    spec = override(SPEC, {"data.whiten": True})
    inputs = prepare(stream_folder(root).train, spec).inputs[:]
    torch.testing.assert_close(inputs.mean(dim=(1, 2, 3)), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(1, 2, 3), correction=0), torch.ones(12), atol=1e-4, rtol=0)


def test_cmyk_and_wrong_extensions_pass_and_damage_is_told(tmp_path: Path) -> None:
    root = write_images(tmp_path / "pets", classes=2, train=3, val=1, sides=(20, 24))
    images, _ = write.examples(1, (20, 20, 3))
    (root / "train" / "n000" / "0.png").write_bytes(write.jpeg_bytes(images[0], "CMYK"))
    examples = prepare(stream_folder(root).train, SPEC)
    assert examples.inputs[:].shape == (6, 3, 24, 24)
    cut = root / "train" / "n001" / "1.JPEG"
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"n001/1\.JPEG cannot be decoded") as caught:
        evaluate(torch.nn.Flatten(), prepare(stream_folder(root).train, SPEC), SPEC)
    assert caught.value.identifier == "data-image-damaged" and "\n" not in caught.value.message
    cut.write_bytes(write.png_of_header(60_000, 60_000))
    with pytest.raises(DataError) as caught:
        prepare(stream_folder(root).train, SPEC).inputs[:]
    assert caught.value.identifier == "data-image-huge"
    listed = prepare(stream_folder(root).train, SPEC)
    cut.unlink()
    with pytest.raises(DataError) as caught:
        listed.inputs[:]
    assert caught.value.identifier == "data-missing"


def test_layouts_that_lack_something_are_refused(tmp_path: Path) -> None:
    root = write_images(tmp_path / "pets", classes=2, train=2, val=1, sides=(10, 12))
    (root / "val" / "n001").rename(root / "val" / "other")
    with pytest.raises(DataError) as caught:
        stream_folder(root)
    assert caught.value.identifier == "data-class-missing"
    (root / "val").rename(root / "later")
    with pytest.raises(DataError) as caught:
        stream_folder(root)
    assert caught.value.identifier == "data-split-missing"


def test_what_needs_pixels_in_memory_is_refused(root: Path) -> None:
    dataset = stream_folder(root).train
    with pytest.raises(DataError) as told:
        np.asarray(dataset.inputs)
    assert told.value.identifier == "data-streamed"
    for change, identifier in (
        ({"corruption.name": "random_pixels"}, "spec-corruption-streamed"),
        ({"data.crop": 20}, "spec-augmentation-streamed"),
        ({"training.augmentation": "full"}, "spec-augmentation-streamed"),
    ):
        with pytest.raises(SpecError) as caught:
            require_streamable(dataset, override(SPEC, change))
        assert caught.value.identifier == identifier
    with pytest.raises(DataError) as told:
        require_streamable(dataset, override(SPEC, {"data.image_size": "none"}))
    assert told.value.identifier == "data-streamed"
    for change in ({"data.image_size": 8}, {"training.augmentation": "resized_crop"}):
        with pytest.raises(SpecError) as caught:
            plan_study("zhang2017-imagenet", data="digits", scale="smoke", overrides=change)
        assert caught.value.identifier == "spec-not-streamed"


def test_any_study_streams_where_a_size_is_set_and_mixed_sizes_are_refused_elsewhere(root: Path) -> None:
    overrides = {"data.image_size": 16, "data.crop": "none", "data.train_size": 8, "data.test_size": 4}
    plan = plan_study(
        "zhang2017-random-labels",
        data=str(root),
        scale="smoke",
        models=("mlp_1x512",),
        overrides={**overrides, "training.batch_size": 4, "training.max_steps": 2, "corruption.name": "random_labels"}
        | {"corruption.fields": {}},
    )
    record, _ = execute(plan.plan.specs[0], plan.splits)
    assert record.summary["train_size"] == 8 and record.summary["steps"] == 2
    with pytest.raises(DataError) as caught:
        load_data(str(root))
    assert caught.value.identifier == "data-mixed-sizes"


def test_imagenet_is_looked_for_by_name(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_data("imagenet", tmp_path)
    assert caught.value.identifier == "data-missing" and "FOLDER/imagenet/train/CLASS/image" in caught.value.message
    (tmp_path / "imagenet").symlink_to(root)
    assert load_data("imagenet", tmp_path).facts.name == "imagenet"
