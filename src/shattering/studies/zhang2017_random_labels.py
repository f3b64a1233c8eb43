"""Zhang et al. (2017): networks fit random labels and random pixels. Figure 1 and Table 1."""

from __future__ import annotations

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import ratio_interval
from shattering.core.study import Axis, Claim, Effect, Estimate, Figure, Records, Request, Study, label_level, register
from shattering.measures.separation import separation_step
from shattering.measures.time_to_fit import fit_time, slowdown
from shattering.measures.trend import rising_trend
from shattering.studies.zhang2017 import (
    ZHANG_2017,
    Row,
    accuracy_of,
    at_chance,
    chance,
    expected_steps,
    protocol,
    row_claims,
    sizes,
    weight,
)
from shattering.studies.zhang2017_figures import (
    ACCURACY,
    LEVEL,
    STEPS,
    accuracy_figure,
    chance_error_rule,
    curves,
    plain,
    separation_points,
    slowdown_points,
    split_points,
    test_error_points,
)

INPUTS = ("shuffled_pixels", "random_pixels", "gaussian")
"""The conditions that replace the images."""

LEVELS = {"smoke": (0.5,), "small": (0.25, 0.5, 0.75), "paper": (0.2, 0.4, 0.5, 0.6, 0.8)}
"""Levels of label corruption between true and random labels."""

MODELS = {
    ("smoke", ""): ("mlp_1x512",),
    ("small", "digits"): ("mlp_1x512", "mlp_3x512"),
    ("small", ""): ("mlp_1x512", "alexnet", "inception"),
}
SEEDS = {"smoke": 1, "small": 3, "paper": 3}

ROWS = (
    Row("Table 1: Inception, crop, weight decay", "inception", 1.0, 0.8905, augmentation="crop", weight_decay=True),
    Row("Table 1: Inception, crop", "inception", 1.0, 0.8931, augmentation="crop"),
    Row("Table 1: Inception, weight decay", "inception", 1.0, 0.8603, weight_decay=True),
    Row("Table 1: Inception", "inception", 1.0, 0.8575),
    Row("Table 1: Inception, random labels", "inception", 1.0, 0.0978, random_labels=True),
    Row(
        "Table 1: Inception without batch norm, weight decay",
        "inception",
        1.0,
        0.8300,
        batch_norm=False,
        weight_decay=True,
    ),
    Row("Table 1: Inception without batch norm", "inception", 1.0, 0.8200, batch_norm=False),
    Row(
        "Table 1: Inception without batch norm, random labels",
        "inception",
        1.0,
        0.1012,
        batch_norm=False,
        random_labels=True,
    ),
    Row("Table 1: Alexnet, crop, weight decay", "alexnet", 0.999, 0.8122, augmentation="crop", weight_decay=True),
    Row("Table 1: Alexnet, crop", "alexnet", 0.9982, 0.7966, augmentation="crop"),
    Row("Table 1: Alexnet, weight decay", "alexnet", 1.0, 0.7736, weight_decay=True),
    Row("Table 1: Alexnet", "alexnet", 1.0, 0.7607),
    Row("Table 1: Alexnet, random labels", "alexnet", 0.9982, 0.0986, random_labels=True),
    Row("Table 1: MLP 3x512, weight decay", "mlp_3x512", 1.0, 0.5335, weight_decay=True),
    Row("Table 1: MLP 3x512", "mlp_3x512", 1.0, 0.5239),
    Row("Table 1: MLP 3x512, random labels", "mlp_3x512", 1.0, 0.1048, random_labels=True),
    Row("Table 1: MLP 1x512, weight decay", "mlp_1x512", 0.998, 0.5039, weight_decay=True),
    Row("Table 1: MLP 1x512", "mlp_1x512", 1.0, 0.5051),
    Row("Table 1: MLP 1x512, random labels", "mlp_1x512", 0.9934, 0.1061, random_labels=True),
)
"""Table 1, all nineteen rows: training and test accuracy as fractions."""


def specs(request: Request) -> list[RunSpec]:
    """Every model under every condition and level; at the paper's scale, every row of Table 1 as well."""
    seeds = range(request.seeds or SEEDS[request.scale])
    runs = []
    for seed in seeds:
        for model in _models(request):
            for corruption in ("true_labels", "random_labels", *INPUTS):
                runs.append(protocol(request, model, corruption, seed))
            for level in LEVELS[request.scale]:
                runs.append(protocol(request, model, "partially_corrupted_labels", seed, level=level))
        if request.scale == "paper" and not request.models:
            runs += [_row_spec(request, row, seed) for row in ROWS]
    return runs


def _models(request: Request) -> tuple[str, ...]:
    if request.models:
        return request.models
    if request.scale == "paper":
        return ("inception", "alexnet", "mlp_1x512", "mlp_3x512") if _is_image(request) else ("mlp_1x512", "mlp_3x512")
    known = MODELS.get((request.scale, request.data.name)) or MODELS[request.scale, ""]
    return known if _is_image(request) else ("mlp_1x512", "mlp_3x512")


def _is_image(request: Request) -> bool:
    return len(request.data.input_shape) == 3


def _row_spec(request: Request, row: Row, seed: int) -> RunSpec:
    return protocol(
        request,
        row.model,
        "random_labels" if row.random_labels else "true_labels",
        seed,
        fields=row.fields,
        weight_decay=row.decay_coefficient,
        augmentation=row.augmentation,
    )


# Figure 1, as claims


def _of(model: str, records: Records, corruption: str | None = None) -> list[Record]:
    chosen = [record for record in plain(records) if record.spec.model.name == model]
    return [record for record in chosen if corruption is None or record.spec.corruption.name == corruption]


def _slowdown_claim(model: str) -> Claim:
    def estimate(records: Records) -> Estimate | None:
        found = slowdown(_of(model, records, "random_labels"), _of(model, records, "true_labels"))
        if found is None:
            return None
        note = f"{len(found.pairs)} pairs of runs" + (f"; {found.censored} not fitted" if found.censored else "")
        runs = tuple(digest for pair in found.pairs for digest in pair)
        return Estimate(found.value, found.low, found.high, runs, len(runs), note)

    def grows(records: Records) -> bool | None:
        return _rises(model, records, time=True)

    return Claim(
        source="Figure 1b, Section 2.1: " + model,
        quantity="slowdown at p = 1",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect("time to fit grows with p (rank correlation, permutation p ≤ 0.05)", grows),
    )


def _rises(model: str, records: Records, *, time: bool) -> bool | None:
    """Whether time to fit (or test error) rises with the level: significantly yes, clearly not, or cannot tell."""
    levels, values = [], []
    for record in _of(model, records):
        level, taken = label_level(record.spec), fit_time(record)
        if level is not None and taken is not None:
            levels.append(level)
            values.append(float(taken.steps) if time else 1 - float(record.last["test_accuracy"]))
    if len(set(levels)) < 3 or len(set(values)) < 2:
        return None
    correlation, test = rising_trend(levels, values)
    return True if correlation > 0 and test.p <= 0.05 else False if correlation <= 0 else None


def _error_claim(model: str) -> Claim:
    def estimate(records: Records) -> Estimate | None:
        found = accuracy_of(_of(model, records, "random_labels"), "test_accuracy")
        if found is None:
            return None
        low, high = (None if end is None else 1 - end for end in (found.high, found.low))
        return Estimate(1 - found.value, low, high, found.runs, found.planned, found.note)

    def holds(records: Records) -> bool | None:
        rising, chancy = _rises(model, records, time=False), at_chance(_of(model, records, "random_labels"))
        if rising is False or chancy is False:
            return False
        return None if rising is None or chancy is None else True

    return Claim(
        source="Figure 1c, Section 2.1: " + model,
        quantity="test error at p = 1",
        published=0.9,
        tolerance=0.01,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect("test error grows with p and ends at guessing", holds),
    )


def _order_claim(model: str, corruption: str) -> Claim:
    """Figure 1a, Section 2.1: noise images start to be fitted, and are fitted, before random labels."""

    def pairs(records: Records) -> list[tuple[Record, Record]]:
        random = {run.spec.seed: run for run in _of(model, records, "random_labels")}
        return [(run, random[run.spec.seed]) for run in _of(model, records, corruption) if run.spec.seed in random]

    def times(records: Records) -> tuple[list[float], list[float], tuple[str, ...]]:
        ours, theirs, runs = [], [], []
        for run, other in pairs(records):
            first, second = fit_time(run), fit_time(other)
            if first and second and not first.censored and not second.censored and second.steps and first.steps:
                ours.append(float(first.steps))
                theirs.append(float(second.steps))
                runs += [run.digest, other.digest]
        return ours, theirs, tuple(runs)

    def estimate(records: Records) -> Estimate | None:
        ours, theirs, runs = times(records)
        if not ours:
            return None
        value, low, high = ratio_interval(ours, theirs)
        return Estimate(value, low, high, runs, 2 * len(pairs(records)), f"{len(ours)} pairs of runs")

    def before(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.high < 1 else False if found.low > 1 else None

    name = corruption.replace("_", " ")
    return Claim(
        source=f"Figure 1a, Section 2.1: {model}",
        quantity=f"time to fit {name} / random labels",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect(f"{name} are fitted before random labels (interval below 1)", before),
    )


def _conditions_claim(corruption: str) -> Claim:
    """Section 2: the same network fits every randomisation perfectly."""

    def runs(records: Records) -> list[Record]:
        return [record for record in records if record.spec.corruption.name == corruption]

    def fitted(records: Records) -> bool | None:
        chosen = runs(records)
        return all(record.status is Status.DONE for record in chosen) if chosen else None

    return Claim(
        source="Figure 1a, Section 2",
        quantity="training accuracy, " + corruption.replace("_", " "),
        published=1.0,
        tolerance=0.005,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: accuracy_of(runs(records), "train_accuracy"),
        effect=Effect("every run of every model fits to 99%", fitted),
    )


def _claims() -> tuple[Claim, ...]:
    tolerances = {"inception": 0.01, "alexnet": 0.03, "mlp_3x512": 0.03, "mlp_1x512": 0.03}
    table = [
        claim for row in ROWS for claim in row_claims(row, train_tolerance=0.005, test_tolerance=tolerances[row.model])
    ]
    nets = ("inception", "alexnet", "mlp_1x512", "mlp_3x512")
    return (
        *(_conditions_claim(corruption) for corruption in ("random_labels", *INPUTS)),
        *(_slowdown_claim(model) for model in nets),
        *(_error_claim(model) for model in nets),
        *(_order_claim(model, corruption) for model in nets for corruption in ("gaussian", "random_pixels")),
        *table,
    )


# What the report says


def answer(records: Records) -> str:
    """Whether the networks fitted the noise, at what price, and what they learned from it."""
    random = [record for record in records if record.spec.corruption.name == "random_labels"]
    true = [record for record in records if record.spec.corruption.name == "true_labels"]
    tested, learned = accuracy_of(random, "test_accuracy"), accuracy_of(true, "test_accuracy")
    if tested is None:
        return "No run on random labels has ended yet, so there is no answer. Run the same command again to go on."
    fitted = sum(record.status is Status.DONE for record in random)
    first = (
        f"{fitted} of {len(random)} trainings on random labels fitted them to 99% or more, though their test accuracy "
        f"is {tested.value:.1%} where guessing gives {chance(random):.0%}"
    )
    first += f" (and {learned.value:.1%} after training on true labels)." if learned else "."
    found = [
        (model, slowdown(_of(model, records, "random_labels"), _of(model, records, "true_labels")))
        for model in dict.fromkeys(record.spec.model.name for record in random)
    ]
    ratios = [f"{pair.value:.1f} times as many for {model}" for model, pair in found if pair is not None]
    if not ratios:
        return first + " How much longer that takes than fitting true labels cannot be told yet."
    return (
        f"{first} Fitting noise took longer by a small factor only: {', '.join(ratios)} optimizer steps as true labels."
    )


def _curve_reading(records: Records) -> str:
    ended = plain(records)
    noise = [record for record in ended if record.spec.corruption.name != "true_labels"]
    fitted = sum(record.status is Status.DONE for record in noise)
    return (
        f"{fitted} of {len(noise)} runs on corrupted data drove the training loss down until 99% of their examples "
        "were fitted; the conditions differ in the time that takes."
    )


def _accuracy_reading(records: Records) -> str:
    tested = {}
    for name in ("true_labels", "shuffled_pixels", "random_labels"):
        runs = [record for record in plain(records) if record.spec.corruption.name == name]
        found = accuracy_of(runs, "test_accuracy")
        if found is not None:
            tested[name.replace("_", " ")] = found.value
    parts = [f"{value:.0%} on {name}" for name, value in tested.items()]
    return f"Training accuracies meet at the top; test accuracies do not: on average {', '.join(parts)}."


def _slowdown_reading(records: Records) -> str:
    worst = max(slowdown_points(records), key=lambda point: point.y)
    return (
        f"The largest slowdown is {worst.y:.1f} ({worst.series} at p = {worst.x:g}); a factor like this is the whole "
        "price, in time, of fitting noise."
    )


def _error_reading(records: Records) -> str:
    points = [point for point in test_error_points(records) if point.kind == "clean test labels"]
    spans = []
    for level in sorted({point.x for point in points}):
        heights = [point.y for point in points if point.x == level]
        spans.append(f"{min(heights):.0%}–{max(heights):.0%} at p = {level:g}")
    return f"Test error by level of corruption, over the models: {', '.join(spans)}; the training set is the same size."


def _split_reading(records: Records) -> str:
    texts = []
    for model in dict.fromkeys(record.spec.model.name for record in plain(records)):
        leads = []
        for run in _of(model, records, "partially_corrupted_labels"):
            if label_level(run.spec) != 0.5:
                continue
            for row in run.rows:
                if row.get("unchanged_train_accuracy", 0.0) >= 0.5:
                    leads.append(float(row.get("changed_train_accuracy", 0.0)))
                    break
        if leads:
            texts.append(f"{sum(leads) / len(leads):.0%} for {model}")
    if not texts:
        return "No run has come far enough to tell clean from corrupted examples."
    return (
        "When half of the clean examples are first fitted, the fraction of corrupted examples fitted to their wrong "
        f"label is {', '.join(texts)}: below one half, the signal came first."
    )


def _separation_reading(records: Records) -> str:
    texts = []
    for model in dict.fromkeys(record.spec.model.name for record in plain(records)):
        clean = {run.spec.seed: run for run in _of(model, records, "true_labels")}
        steps = [
            separation_step(clean[run.spec.seed], run)
            for run in _of(model, records, "random_labels")
            if run.spec.seed in clean
        ]
        known = sorted(step for step in steps if step is not None)
        if known:
            texts.append(f"{model} by step {known[len(known) // 2]} ({len(known)} of {len(steps)} pairs)")
    if not texts:
        return "Within these runs the loss on random labels never stays twice that on true labels."
    return (
        f"From here on the loss on random labels stays at least twice that on true ones: {'; '.join(texts)}, medians."
    )


FIGURES = (
    Figure(
        name="loss",
        title="Training loss per condition (after Figure 1a)",
        x=STEPS,
        y=Axis("mean training loss, nats"),
        points=lambda records: curves(records, {"train_loss": "train"}),
        reading=_curve_reading,
    ),
    accuracy_figure(_accuracy_reading),
    Figure(
        name="slowdown",
        title="Time to fit against label corruption (after Figure 1b)",
        x=LEVEL,
        y=Axis("time to fit, relative to true labels", scale="linear"),
        points=slowdown_points,
        reading=_slowdown_reading,
        rules=lambda records: {"true labels": 1.0},
    ),
    Figure(
        name="test-error",
        title="Test error against label corruption (after Figure 1c)",
        x=LEVEL,
        y=Axis("test error", percent=True),
        points=test_error_points,
        reading=_error_reading,
        rules=chance_error_rule,
    ),
    Figure(
        name="clean-and-corrupted",
        title="Clean and corrupted examples apart, half of the labels random",
        x=STEPS,
        y=ACCURACY,
        points=split_points,
        reading=_split_reading,
        rules=lambda records: {"chance": chance(records)},
    ),
    Figure(
        name="separation",
        title="How early real and random labels separate",
        x=STEPS,
        y=Axis("training loss on random / on true labels", scale="log"),
        points=separation_points,
        reading=_separation_reading,
        rules=lambda records: {"separated": 2.0},
    ),
)


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    if request.scale == "paper" and request.data.name == "cifar10":
        return tuple(note for note in request.data.notes)
    told = []
    if request.data.name != "cifar10":
        told.append(f"The data are {request.data.name}, not CIFAR-10: numbers are shown, effects are judged.")
    if request.scale != "paper":
        for model in _models(request):
            at = sizes(request, model)
            train = at.train or request.data.train_size
            test = at.test or request.data.test_size
            told.append(
                f"{model}: {train:,} of {request.data.train_size:,} training examples (each seed draws its own), "
                f"tested on {test:,}; batches of {at.batch}, at most {at.steps:,} steps."
            )
        told.append(
            "The learning rate is constant. The paper multiplies it by 0.95 after each epoch of 50,000 images (391 "
            "steps); tied to a subset's few steps an epoch, the decay would starve the training."
        )
        told.append("Training stops when the training set is fitted to 99%; the paper trains on.")
        told.append(
            "The rows of Table 1 with weight decay, random crops, or without batch norm are left to --scale paper."
        )
        if "inception" in _models(request):
            told.append(
                "The Inception learns at 0.02 with batches of 64, not at 0.1 with 128: with so few steps the "
                "statistics that batch norm uses in evaluation lag behind weights that move faster."
            )
    if request.data.name == "digits":
        told.append("The MLPs learn at a rate of 0.1 on digits, whose 64 inputs are far fewer than 2,352.")
    return (*told, *request.data.notes)


CHOICES = (
    ("batch size", "128, as in the author's demonstration and the replications; 64 or less on the smallest subsets"),
    ("number of epochs", "100 at the paper's scale, where the decayed rate is 0.6% of its start"),
    ("weight-decay coefficient", "5e-4 for convolutional networks and 1e-4 for MLPs, the replications' usual choice"),
    ("threshold of 'time to overfit'", "the first epoch at whose end training accuracy is at least 99%, at every p"),
    ("initialisation", "He-normal weights, zero biases"),
    ("Gaussian noise", "mean and variance per channel of the training images, before whitening"),
    ("test set under random pixels and Gaussian noise", "changed as well, each image by a draw of its own"),
    ("test labels in Figure 1c", "clean; the error on corrupted test labels is derived and drawn beside it"),
    ("pixel permutations", "over the positions after the centre crop, the channels of a pixel together"),
    (
        "bias-like parameters of the Inception",
        "one a channel and none in batch norm's scale, as the printed count needs",
    ),
    ("local response normalisation", "window 9, bias 1, alpha 0.001/9 per element, beta 0.75, after each pooling"),
)

study = register(
    Study(
        name="zhang2017-random-labels",
        paper=ZHANG_2017,
        question="Can networks that generalise on true labels also fit labels and images that are pure noise?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=_claims(),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        expected_steps=expected_steps,
        weight=weight,
    )
)
