"""Zhang et al. (2017): networks fit random labels and random pixels. Figure 1 and Table 1."""

from __future__ import annotations

from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.study import Claim, Records, Request, Study, register
from shattering.measures.time_to_fit import slowdown
from shattering.studies.zhang2017 import (
    PAPER_RATES,
    ZHANG_2017,
    Row,
    accuracy_of,
    chance,
    distinct,
    drawn,
    expected_steps,
    is_image,
    protocol,
    row_claims,
    sizes,
    weight,
)
from shattering.studies.zhang2017_figure1 import (
    bounded_claim,
    conditions_claim,
    error_claim,
    left_end_claim,
    order_claim,
    runs_of,
    slowdown_claim,
)
from shattering.studies.zhang2017_figures import plain
from shattering.studies.zhang2017_pictures import FIGURES
from shattering.studies.zhang2017_statements import (
    augmentation_claim,
    fast_claim,
    needless_claim,
    partial_claim,
    start_claim,
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
            for level in _levels(request, model):
                runs.append(protocol(request, model, "partially_corrupted_labels", seed, level=level))
        if request.scale == "paper" and not request.models and is_image(request):
            runs += [_row_spec(request, row, seed) for row in ROWS]
    return distinct(runs)


def _levels(request: Request, model: str) -> tuple[float, ...]:
    """One level only for the convolutional networks, whose steps cost most on a CPU."""
    return (0.5,) if request.scale == "small" and model in ("inception", "alexnet") else LEVELS[request.scale]


def _models(request: Request) -> tuple[str, ...]:
    if request.models:
        return request.models
    if request.scale == "paper":
        return ("inception", "alexnet", "mlp_1x512", "mlp_3x512") if is_image(request) else ("mlp_1x512", "mlp_3x512")
    known = MODELS.get((request.scale, request.data.name)) or MODELS[request.scale, ""]
    return known if is_image(request) else ("mlp_1x512", "mlp_3x512")


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


def _claims() -> tuple[Claim, ...]:
    tolerances = {"inception": 0.01, "alexnet": 0.03, "mlp_3x512": 0.03, "mlp_1x512": 0.03}
    table = [
        claim for row in ROWS for claim in row_claims(row, train_tolerance=0.005, test_tolerance=tolerances[row.model])
    ]
    nets = ("inception", "alexnet", "mlp_1x512", "mlp_3x512")
    shown, noise = nets[:3], ("gaussian", "random_pixels")
    return (
        *(conditions_claim(corruption) for corruption in ("random_labels", *INPUTS)),
        *(order_claim("inception", corruption) for corruption in (*noise, "shuffled_pixels")),
        *(order_claim("inception", "true_labels", corruption) for corruption in INPUTS),
        *(claim(model) for model in shown for claim in (slowdown_claim, bounded_claim)),
        *(error_claim(model) for model in shown),
        *(left_end_claim(row.model, round(1 - row.test, 4), tolerances[row.model]) for row in _bare() if row.test),
        *(start_claim("inception", corruption) for corruption in noise),
        fast_claim("inception"),
        *(partial_claim(model) for model in shown),
        *(order_claim(model, corruption) for model in nets if model != "inception" for corruption in noise),
        slowdown_claim("mlp_3x512"),
        error_claim("mlp_3x512"),
        *table,
        *(augmentation_claim(_row(f"{net}, crop"), _row(f"{net}, weight decay"), wide) for net, wide in REGULARISED),
        *(needless_claim(_row(f"{net}, crop, weight decay"), _row(net), wide) for net, wide in REGULARISED),
    )


REGULARISED = (("Inception", 0.01), ("Alexnet", 0.03))
"""The networks that Table 1 has with either regulariser and both, and the tolerances of their differences."""


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.source == f"Table 1: {name}")


def _bare() -> list[Row]:
    """The rows of Figure 1c's networks on true labels, without regularisers."""
    return [_row(name) for name in ("Inception", "Alexnet", "MLP 1x512")]


def answer(records: Records) -> str:
    """Whether the networks fitted the noise, at what price, and what they learned from it."""
    random = [record for record in plain(records) if record.spec.corruption.name == "random_labels"]
    true = [record for record in plain(records) if record.spec.corruption.name == "true_labels"]
    tested, learned = accuracy_of(random, "test_accuracy"), accuracy_of(true, "test_accuracy")
    if tested is None:
        return "No run on random labels has ended yet, so there is no answer. Run the same command again to go on."
    fitted = sum(record.status is Status.DONE for record in random)
    first = (
        f"{fitted} of {len(random)} trainings on random labels fitted them to 99% or more; their test accuracy is "
        f"{tested.value:.1%} where guessing gives {chance(random):.0%}"
    )
    first += f" (and {learned.value:.1%} after training on true labels)." if learned else "."
    found = [
        (model, slowdown(runs_of(model, records, "random_labels"), runs_of(model, records, "true_labels")))
        for model in dict.fromkeys(record.spec.model.name for record in random)
    ]
    ratios = [
        f"{'more than ' if pair.censored else ''}{pair.value:.1f} for {model}"
        for model, pair in found
        if pair is not None
    ]
    if not ratios:
        return first + " How much longer that takes than fitting true labels cannot be told yet."
    return f"{first} Optimizer steps to fit them, as a multiple of those to fit true labels: {', '.join(ratios)}."


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = []
    if request.data.name != "cifar10":
        told.append(f"The data are {request.data.name}, not CIFAR-10: numbers are shown, effects are judged.")
    if request.scale == "paper":
        return (*told, *request.data.notes)
    for model in _models(request):
        at = sizes(request, model)
        train, test = at.train or request.data.train_size, at.test or request.data.test_size
        usual = PAPER_RATES.get(model)
        rate = f"a rate of {at.rate:g}" + (f" (the paper's is {usual:g})" if usual not in (None, at.rate) else "")
        told.append(
            f"{model}: {drawn(train, request)}, tested on {test:,}; batches of {at.batch}, {rate}, at most "
            f"{at.steps:,} steps."
        )
        if model == "alexnet" and at.rate < PAPER_RATES[model]:
            told.append(
                "The Alexnet learns more slowly than the paper's because a constant 0.01 is unstable on 512 noise "
                "images: their loss falls to half and rises again."
            )
        if model == "inception" and at.rate < PAPER_RATES[model]:
            told.append(
                "The Inception learns more slowly than the paper's because so few steps leave the statistics that "
                "batch norm uses in evaluation behind weights that move faster."
            )
    told.append(
        "The learning rate is constant. The paper multiplies it by 0.95 after each epoch of 50,000 images (391 steps); "
        "tied to a subset's few steps an epoch, the decay would starve the training."
    )
    told.append("Training stops when the training set is fitted to 99%; the paper trains on.")
    told.append("Rows of Table 1 with weight decay, random crops, or without batch norm are left to --scale paper.")
    return (*told, *request.data.notes)


CHOICES = (
    ("batch size", "128, as in the author's demonstration and the replications; 64 or less on the smallest subsets"),
    ("number of epochs", "100 at the paper's scale, where the decayed rate is 0.6% of its start"),
    ("weight-decay coefficient", "5e-4 for convolutional networks and 1e-4 for MLPs, the replications' usual choice"),
    ("threshold of 'time to overfit'", "the first epoch at whose end training accuracy is at least 99%, at every p"),
    ("start of fitting", "the first snapshot with a training accuracy of at least twice guessing"),
    ("initialisation", "He-normal weights, zero biases, an output layer near zero"),
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
