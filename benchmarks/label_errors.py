"""Which labels look wrong, ours beside cleanlab, on planted noise whose positions nobody is told.

Digits (1,437 examples), 2,500 of MNIST and of CIFAR-10; no noise, and 5, 10, 20 and 40% wrong labels, of any other
class (uniform) or of the next one (asymmetric). The noisy labels take the place of the data's own; trainings on random
70% subsets, each tested on what it left out, are all that either side sees. cleanlab gets the very same held-out
probabilities. Compared: precision among as many labels as were planted, area under the precision-recall curve (average
precision), and the estimated rate of wrong labels, ours with an interval. cleanlab has three scores: its default, and
the best of the three in each row, chosen with hindsight, are both shown, and so is what its default `find_label_issues`
calls wrong, beside as many of our first. On digits every setting is repeated 40 times
with other noise, subsets and initialisations, and it is counted how often the interval holds the planted rate.

cleanlab is optional (extra ``labels``); without it its columns stay empty. What is done is kept in the results' file,
so that a benchmark that was stopped goes on; --again begins anew.

    python benchmarks/label_errors.py [--quick] [--again] [--repeats N] [--only SET …] [--jobs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "label_errors.json"
NOISE = (("none", 0.0), *((kind, p) for kind in ("uniform", "asymmetric") for p in (0.05, 0.1, 0.2, 0.4)))
CORRUPTIONS = {"none": "true_labels", "uniform": "wrong_labels", "asymmetric": "pair_flipped_labels"}
EPOCHS = {"digits": 16, "mnist": 12, "cifar10": 12}
RUNS = {"digits": 10, "mnist": 10, "cifar10": 10}
SUBSET = {"mnist": 2500, "cifar10": 2500}
NUMBERS = ("planted", "test_accuracy", "rate", "low", "high", "cleanlab_rate", "expected_precision")
NUMBERS += ("cleanlab_issues", "cleanlab_issues_precision", "ours_at_as_many")
DEFAULT = "cleanlab self_confidence"
"""The score that cleanlab ranks by where none is asked for."""


def networks(name: str, examples: int) -> Any:
    """The training that is varied: a perceptron small enough for two cores, right on one in three of CIFAR-10."""
    from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec

    model = {
        "digits": ModelSpec(name="mlp_1x512", fields={"width": 64}),
        "mnist": ModelSpec(name="mlp_1x512", fields={"width": 128}),
        "cifar10": ModelSpec(name="mlp_1x512", fields={"width": 128}),
    }[name]
    steps = EPOCHS[name] * -(-round(0.7 * examples) // 64)
    rate = {"digits": 0.05, "mnist": 0.02, "cifar10": 0.005}[name]
    return RunSpec(
        data=DataSpec(name=name, whiten=name != "digits"),
        model=model,
        training=TrainingSpec(learning_rate=rate, momentum=0.9, batch_size=64, max_steps=steps),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=2 if name == "digits" else 1),
    )


def planted(name: str, kind: str, p: float, repeat: int) -> tuple[Any, Any]:
    """The data with wrong labels in place of their own, and which of them are wrong."""
    from shattering.core.spec import CorruptionSpec, RunSpec
    from shattering.core.streams import Stream
    from shattering.corruptions.registry import corrupt
    from shattering.data.arrays import from_arrays
    from shattering.data.load import load_data

    splits = load_data(name)
    if name != "digits":
        rows = Stream(repeat, "label-benchmark").permutation(len(splits.train))[: SUBSET[name]]
        splits = replace(splits, train=splits.train.take(rows), test=splits.test.take(rows[:500] % len(splits.test)))
    fields = {} if kind == "none" else {"p": p}
    noisy = corrupt(splits, RunSpec(corruption=CorruptionSpec(name=CORRUPTIONS[kind], fields=fields), seed=repeat))
    train, test = noisy.train, noisy.test
    given = from_arrays(
        train.inputs,
        train.labels,
        test.inputs,
        test.labels,
        name=name,
        num_classes=train.num_classes,
        divisor=train.divisor,
    )
    return given, train.changed


def one(name: str, kind: str, p: float, repeat: int) -> dict[str, Any]:
    """One planted noise, audited by both."""
    import numpy as np

    from shattering.checks.registry import Subject
    from shattering.checks.subset_runs import subset_runs
    from shattering.execution.control import Control
    from shattering.execution.run import execute
    from shattering.measures.label_channel import readings, wrong
    from shattering.measures.label_errors import held_out, label_scores
    from shattering.measures.label_noise_rate import noise_rate

    splits, changed = planted(name, kind, p, repeat)
    began = time.monotonic()
    specs = subset_runs(Subject(networks(name, len(splits.train)), splits), RUNS[name])
    records = [
        execute(spec.model_copy(update={"seed": spec.seed + 1000 * repeat}), splits, Control(way="compiled"))[0]
        for spec in specs
    ]
    trained = time.monotonic()
    data = held_out(records)
    channels = readings(data.probabilities, data.given)
    scores, rate = label_scores(data, channels), noise_rate(channels, data.given)
    bad = changed[data.index]
    count = int(bad.sum())
    found: dict[str, Any] = {
        "data": name,
        "noise": kind,
        "p": p,
        "repeat": repeat,
        "examples": len(bad),
        "planted": float(bad.mean()),
        "runs": len(records),
        "test_accuracy": float(np.mean([record.last["test_accuracy"] for record in records])),
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "error": rate.error,
        "mistakes": rate.mistakes,
        "strict": rate.strict,
        "training_seconds": trained - began,
        "answer_seconds": time.monotonic() - trained,
    }
    ours = {"ours": scores.value, "channel alone": scores.parts["channel"], **data.evidence}
    theirs, their_rate = by_cleanlab(data.given, data.probabilities)
    found["cleanlab_rate"] = their_rate
    if count:
        first = scores.order[:count]
        found["expected_precision"] = float(wrong(channels.lenient, data.given)[first].mean())
        found["transition_error"] = transition_error(rate.transition, kind, p)
        found["rankings"] = {way: judged(value, bad) for way, value in {**ours, **theirs}.items()}
        issues = issues_by_cleanlab(data.given, data.probabilities)
        if issues is not None:
            as_many = scores.order[: int(issues.sum())]
            found["cleanlab_issues"] = int(issues.sum())
            found["cleanlab_issues_precision"] = float(bad[issues].mean()) if len(as_many) else None
            found["ours_at_as_many"] = float(bad[as_many].mean()) if len(as_many) else None
    return found


def judged(value: Any, bad: Any) -> dict[str, float]:
    """Average precision, and precision among as many as were planted."""
    import numpy as np
    from sklearn.metrics import average_precision_score

    first = np.argsort(-value, kind="stable")[: int(bad.sum())]
    return {"average_precision": float(average_precision_score(bad, value)), "precision": float(bad[first].mean())}


def transition_error(transition: Any, kind: str, p: float) -> float:
    """Mean over classes of half the absolute difference of a row to the planted one (total variation)."""
    import numpy as np

    classes = len(transition)
    truth = np.eye(classes) * (1 - p)
    truth += p * (
        np.roll(np.eye(classes), 1, axis=1) if kind == "asymmetric" else (1 - np.eye(classes)) / (classes - 1)
    )
    return float(np.abs(transition - truth).sum(axis=1).mean() / 2)


def by_cleanlab(given: Any, probabilities: Any) -> tuple[dict[str, Any], float | None]:
    """cleanlab's three rankings, higher for worse, and its estimate of the rate; nothing where it is not installed."""
    try:
        from cleanlab.count import estimate_joint
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}, None
    import numpy as np

    methods = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    rankings = {f"cleanlab {way}": -get_label_quality_scores(given, probabilities, method=way) for way in methods}
    joint = estimate_joint(given, probabilities)
    return rankings, float(1 - np.trace(joint))


def issues_by_cleanlab(given: Any, probabilities: Any) -> Any:
    """Which labels its `find_label_issues` calls wrong, all settings left as they come; None where not installed."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return None
    return find_label_issues(given, probabilities, n_jobs=1)


def summary(cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over repeats for each setting, with how often the interval held the planted rate."""
    settings: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for case in cases:
        settings.setdefault((case["data"], case["noise"], case["p"]), []).append(case)
    rows = []
    for (name, kind, p), found in sorted(settings.items(), key=lambda item: (list(EPOCHS).index(item[0][0]), item[0])):
        row: dict[str, Any] = {"data": name, "noise": kind, "p": p, "repeats": len(found)}
        for number in NUMBERS:
            values = [case[number] for case in found if case.get(number) is not None]
            row[number] = sum(values) / len(values) if values else None
        row["covered"] = sum(case["low"] <= case["planted"] <= case["high"] for case in found) / len(found)
        row["transition_error"] = _mean([case["transition_error"] for case in found if "transition_error" in case])
        for way in found[0].get("rankings", {}):
            for judge in ("average_precision", "precision"):
                row[f"{way}: {judge}"] = _mean([case["rankings"][way][judge] for case in found])
        rows.append(row)
    return rows


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def printed(rows: list[dict[str, Any]]) -> None:
    """The summary as two tables in Markdown: the rate, and the ranking beside cleanlab's default and best scores."""
    _table(("data, noise", "repeats", "rate: ours, mean interval", "held the truth", "cleanlab's"), map(_rated, rows))
    print()
    titles = ["data, noise"]
    for judge in ("average precision", "precision"):
        titles += [f"{judge}: ours", "cleanlab's default", "cleanlab's best"]
    titles += ["`find_label_issues` calls wrong", "right of these", "of our first as many"]
    _table(titles, (_ranked(row) for row in rows if row["p"]))


def _table(titles: Iterable[str], rows: Iterable[list[str]]) -> None:
    titles = list(titles)
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def _setting(row: dict[str, Any]) -> str:
    return f"{row['data']}, {row['noise']}" + (f" {row['p']:.0%}" if row["p"] else "")


def _rated(row: dict[str, Any]) -> list[str]:
    theirs = "-" if row["cleanlab_rate"] is None else f"{row['cleanlab_rate']:.1%}"
    interval = f"{row['rate']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
    return [_setting(row), str(row["repeats"]), interval, f"{row['covered']:.0%}", theirs]


def _ranked(row: dict[str, Any]) -> list[str]:
    cells = [_setting(row)]
    for judge in ("average_precision", "precision"):
        theirs = [value for key, value in row.items() if key.startswith("cleanlab ") and key.endswith(f": {judge}")]
        cells += [_told(row.get(f"{ours}: {judge}")) for ours in ("ours", DEFAULT)]
        cells.append(_told(max(theirs, default=None)))
    count = row["cleanlab_issues"]
    cells.append("-" if count is None else f"{count:.0f}")
    return [*cells, _told(row["cleanlab_issues_precision"]), _told(row["ours_at_as_many"])]


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="digits only, two repeats, nothing kept")
    parser.add_argument("--again", action="store_true", help="forget what is done")
    parser.add_argument("--repeats", type=int, default=40, help="on digits; the others are done once")
    parser.add_argument("--only", nargs="*", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    repeats = 2 if asked.quick else asked.repeats
    sets = ["digits"] if asked.quick else asked.only
    wanted = [
        (name, kind, p, repeat)
        for repeat in range(repeats)
        for name in sets
        if repeat == 0 or name == "digits"
        for kind, p in NOISE
    ]
    kept = [] if asked.quick or asked.again or not asked.json.exists() else json.loads(asked.json.read_text())["cases"]
    done = {(case["data"], case["noise"], case["p"], case["repeat"]) for case in kept}
    os.environ["OMP_NUM_THREADS"] = "1"
    began = saved = time.monotonic()
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(one, *case) for case in wanted if case not in done]
        for number, future in enumerate(as_completed(futures), 1):
            kept.append(future.result())
            if not asked.quick and (time.monotonic() - saved > 20 or number == len(futures)):
                save(asked.json, kept)
                saved = time.monotonic()
    printed(summary(kept))
    print(f"\n{time.monotonic() - began:.0f} s for {len(futures)} cases")


def save(path: Path, cases: list[dict[str, Any]]) -> None:
    """Cases in their order, and the summary."""
    from shattering.core.version import VERSION

    ordered = sorted(cases, key=lambda case: (case["data"], case["noise"], case["p"], case["repeat"]))
    rounded = json.loads(json.dumps(ordered), parse_float=lambda text: round(float(text), 4))
    told = {"shattering": VERSION, "summary": summary(rounded), "cases": rounded}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
