"""What a sweep's file can say, what it must not, and that a product of parts names its runs as they do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from shattering.core.axes import number_of
from shattering.core.errors import SpecError
from shattering.core.lattice import DEFAULT, Block, Lattice, Part, text_of
from shattering.core.plan import Plan
from shattering.core.spec import RunSpec, override
from shattering.core.study import DataFacts, Request
from shattering.core.sweep_file import changed, parse_sweep, read_sweep

FACTS = DataFacts("digits", 1437, 360, (8, 8, 1), 10, "f" * 64)


def rows(tree: dict[str, Any], axis: int = 0) -> list[Any]:
    return [row[0] for row in parse_sweep(tree).axes[axis].rows]


def test_axes_are_written_out_spaced_or_drawn() -> None:
    grid: dict[str, Any] = {
        "training.learning_rate": ["1e-3", 0.1],
        "seed": {"range": [2, 8, 3]},
        "training.momentum": {"spaced": [0, 0.5, 3]},
        "training.weight_decay": {"log_spaced": ["1e-4", "1e-2", 3]},
        "model.fields.width": {"log_integers": [1, 4, 9]},
    }
    sweep = parse_sweep({"grid": grid})
    assert [axis.paths for axis in sweep.axes] == [(name,) for name in grid]
    assert [[row[0] for row in axis.rows] for axis in sweep.axes] == [
        ["1e-3", "0.1"],
        [2, 5],
        [0.0, 0.25, 0.5],
        [0.0001, 0.001, 0.01],
        [1, 2, 3, 4],
    ]
    assert [axis.logarithmic for axis in sweep.axes] == [False, False, False, True, True]


def test_nested_fields_are_the_dotted_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("﻿grid:\n  training: {learning_rate: [1e-3, 1], batch_size: {range: [8, 10]}}\nseeds: 2\n", "utf-8")
    sweep = read_sweep(file)
    assert sweep.name == "mine" and sweep.seeds == 2 and sweep.combinations == 4
    assert [axis.paths[0] for axis in sweep.axes] == ["training.learning_rate", "training.batch_size"]


def test_a_zip_goes_side_by_side() -> None:
    sweep = parse_sweep({"zip": {"data.train_size": [200, 400], "training.batch_size": [32, 64]}})
    assert sweep.axes[0].rows == (("200", "32"), ("400", "64"))


def test_samples_are_drawn_from_the_documented_stream() -> None:
    """Golden values: the same plan on every machine."""
    sample = {
        "runs": 4,
        "seed": 7,
        "training.learning_rate": {"log_uniform": ["1e-3", 1]},
        "model.fields.width": {"log_integers": [8, 64]},
        "training.batch_size": {"integers": [10, 12]},
        "training.momentum": {"choice": [0, 0.9]},
    }
    drawn = parse_sweep({"sample": sample}).axes[0].rows
    again = parse_sweep({"sample": {**sample, "runs": 9}}).axes[0].rows
    assert again[:4] == drawn
    assert all(1e-3 <= rate <= 1 and 8 <= width <= 64 and 10 <= size <= 12 for rate, width, size, _ in again)
    assert drawn == GOLDEN


GOLDEN: tuple[tuple[Any, ...], ...] = (
    (0.0664707, 26, 10, "0.9"),
    (0.112035, 18, 12, "0"),
    (0.0452217, 33, 12, "0.9"),
    (0.0916162, 23, 11, "0"),
)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-3", 1e-3), ("64", 64), ("-2", -2), ("inf", None), ("nan", None), ("1_000", None), ("9" * 5000, None)],
)
def test_numbers_are_finite_and_plain(text: str, number: float | None) -> None:
    assert number_of(text) == number and type(number_of(text)) is type(number)


WRONG: list[tuple[str, str, str]] = [
    ("grids: {seed: [1]}", "sweep-unknown-key", "'grid'"),
    ("training.learning_rate: 0.1", "sweep-unknown-key", "under 'base'"),
    ("grid: {training.learning_rat: [1]}", "spec-unknown-key", "training.learning_rate"),
    ("grid: {seed: [1]}\ngrid: {seed: [2]}", "config-duplicate-key", "already set"),
    ("base: {seed: 1}\ngrid: {seed: [2]}", "sweep-field-twice", "keep one"),
    ("grid: {training.momentum: [0]}\nzip: {training.momentum: [0.5]}", "sweep-field-twice", "varied twice"),
    ("grid: {seed: [1]}\nseeds: 3", "sweep-field-twice", "keep one"),
    ("grid: {training.learning_rate: [fast]}", "spec-wrong-value", "'fast'"),
    ("grid: {training.learning_rate: [.inf]}", "spec-wrong-value", ".inf"),
    ("grid: {training.learning_rate: [-1]}", "spec-wrong-value", "greater than 0"),
    ("grid: {seed: [true]}", "spec-wrong-value", "seed"),
    ("grid: {seed: [12:30]}", "spec-wrong-value", "12:30"),
    ("grid: {training.stop_when_fitted: [no]}", "spec-wrong-value", "true or false"),
    ("grid: {seed: []}", "sweep-empty", "no values"),
    ("grid: {seed: {range: [5, 5]}}", "sweep-empty", "no run"),
    ("{}", "sweep-empty", "nothing to run"),
    ("", "sweep-empty", "nothing to run"),
    ("grid: {seed: {range: [0, 10000000]}}", "sweep-too-large", "10,000,000"),
    ("grid: {seed: {range: [0, 1" + "0" * 30 + "]}}", "sweep-too-large", "take fewer"),
    ("seeds: 10000000\nbase: {seed: 1}", "sweep-too-large", "10,000,000"),
    ("grid: {seed: {rang: [0, 3]}}", "sweep-unknown-key", "'range'"),
    ("grid: {seed: {range: [0, x]}}", "sweep-wrong-value", "'x'"),
    ("grid: {training.momentum: {log_spaced: [0, 1, 3]}}", "sweep-wrong-value", "logarithm"),
    ("zip: {seed: [1, 2], training.batch_size: [3]}", "sweep-zip-lengths", "as many"),
    ("sample: {training.momentum: {uniform: [0, 1]}}", "sweep-missing-key", "runs: N"),
    ("sample: {runs: 3}", "sweep-empty", "draws no field"),
    ("sample: {runs: 3, training.momentum: {uniform: [1, 0]}}", "sweep-wrong-value", "smaller number first"),
    ("sample: {runs: 3, training.momentum: [0]}", "sweep-wrong-value", "how it is drawn"),
    ("seeds: {at_least: 2, at_most: 9, measure: fitted, half_width: 1%}\nbase: {}", "sweep-wrong-value", "3 or more"),
    ("seeds: {at_most: 9, half_width: 1%}\nbase: {}", "sweep-missing-key", "'measure'"),
    ("seeds: {at_mos: 9}\nbase: {}", "sweep-unknown-key", "'at_most'"),
    ("threshold: {field: data.train_size, low: 10, high: 5, met: fitted}", "sweep-wrong-value", "below"),
    ("threshold: {field: data.train_size, low: 5, high: 10, met: fit}", "sweep-wrong-value", "'fit'"),
    ("threshold: {field: training.loss, low: 5, high: 10, met: fitted}", "spec-wrong-value", "training.loss"),
    ("base: {data.name: mnist}", "spec-planned-field", "--data"),
    ("base: {seed: [1, 2]}", "sweep-wrong-value", "'grid'"),
    ("scale: small\nbase: {}", "sweep-without-study", "'study'"),
    ("study: zhang\nscale: huge", "scale-unknown", "'huge'"),
    ("name: a: b", "config-malformed", "not YAML"),
    ("base:\n\tseed: 1", "config-malformed", "tab"),
    ("base: &a {seed: 1}\ngrid: *a", "config-alias", "aliases"),
    ("base: {seed: !!python/object/apply:os.system [id]}", "config-tag", "tags"),
    ("grid: {measures.names: [[accuracy], [weights]]}", "config-nested-list", "plain values"),
]


@pytest.mark.parametrize(("text", "identifier", "told"), WRONG, ids=[case[0][:40] for case in WRONG])
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, identifier: str, told: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, "utf-8")
    began = time.process_time()
    with pytest.raises(SpecError) as error:
        read_sweep(file)
    assert error.value.identifier == identifier, error.value.message
    assert told in error.value.message and str(file) in error.value.message
    assert error.value.message.count("\n") == 0 and error.value.message.endswith((".", "?"))
    assert time.process_time() - began < 5  # R16: a wrong file is refused at once, whatever it asks for


def test_what_is_stored_reads_back() -> None:
    tree = {
        "name": "x",
        "base": {"model": {"name": "mlp_1x512", "fields": {"width": 64}}, "training.stop_when_fitted": False},
        "grid": {"corruption.name": ["true_labels", "random_labels"]},
        "threshold": {"field": "data.train_size", "low": 10, "high": 90, "met": "test_accuracy >= 0.5", "within": "5%"},
    }
    sweep = parse_sweep(tree)
    assert parse_sweep({"name": sweep.name, **json.loads(json.dumps(sweep.tree))}) == sweep
    assert sweep.threshold is not None and sweep.threshold.whole and sweep.threshold.within == 0.05
    assert sweep.threshold.met.holds(0.5) and not sweep.threshold.met.holds(0.49)
    other = changed(sweep, base={"training.momentum": "0.5"}, data="mnist")
    assert other.base == {**sweep.base, "training.momentum": "0.5"} and other.data == "mnist"
    with pytest.raises(SpecError, match="varied under 'threshold'"):
        changed(sweep, base={"data.train_size": "5"})


def part(name: str, values: list[Any], factor: int) -> Part:
    texts = tuple(DEFAULT if value in ({}, 0) else text_of(value) for value in values)
    return Part(name, (factor,), texts)


def lattice() -> Lattice:
    width = Part("model", (), (text_of({"fields": {"width": 8}}),))
    rates = part("training", [{}, {"learning_rate": 0.5}], 0)
    sizes = Part("data", (0, 1), (text_of({"train_size": 9}), text_of({"train_size": 7})), (0, 1, 1, 0, 1, 1))
    seeds = part("seed", [0, 1, 2], 1)
    return Lattice([Block((2, 3), (width, rates, sizes, seeds)), Block((2, 3), (width, rates, sizes, seeds))])


def test_a_lattice_names_runs_as_they_name_themselves() -> None:
    expected = [
        override(
            RunSpec(),
            {"model.fields.width": 8, "training.learning_rate": rate, "seed": seed} | {"data.train_size": size},
        )
        for rate in (0.1, 0.5)
        for seed, size in ((0, 9), (1, 7), (2, 7))
    ]
    found = lattice()
    assert len(found) == 6  # the second block repeats the first
    assert list(found) == expected and [found[place] for place in range(6)] == expected
    assert found.digests == [spec.digest for spec in expected] == [spec.digest for spec in found]
    assert found.varying == ("data.train_size", "training.learning_rate", "seed")
    for path in (*found.varying, "model.fields.width", "training.momentum", "model.fields.depth"):
        wanted = []
        for spec in expected:
            value: Any = spec
            for name in path.split("."):
                value = value.get(name) if isinstance(value, dict) else getattr(value, name)
            wanted.append(value)
        assert found.column(path) == wanted
    assert found[1:3] == expected[1:3] and found[-1] == expected[-1]


def test_plans_read_back_old_and_new() -> None:
    request = Request("small", FACTS)
    listed = Plan("study", request, (RunSpec(), override(RunSpec(), {"seed": 3})), {"seed": "3"}, "again")
    assert Plan.from_json(listed.to_json()) == listed
    product = Plan("sweep-x", request, lattice(), {}, "again", {"name": "x", "grid": {"seed": ["1"]}})
    text = product.to_json()
    assert Plan.from_json(text) == product and Plan.from_json(text).digests == product.digests
    assert "specs" not in json.loads(text)
    assert product.key.startswith("sweep-x-digits-") and product.key == Plan.from_json(text).key
    assert [spec.seed for spec in product.spread(3)] == [0, 2, 1]
