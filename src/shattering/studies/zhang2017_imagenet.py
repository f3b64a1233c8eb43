"""Zhang et al. (2017), Table 2: random labels and explicit regularisers on ImageNet, with Inception V3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shattering.core.record import Status
from shattering.core.spec import CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Records, Request, Study, register
from shattering.studies.zhang2017 import ZHANG_2017, accuracy_of, chance, crop_side, distinct, is_image
from shattering.studies.zhang2017_imagenet_claims import ROWS, Variant, claims, cost_of_switching_off
from shattering.studies.zhang2017_imagenet_pictures import FIGURES

IMAGES = 1_281_167
"""Training images of ILSVRC-2012."""

EPOCHS = 100
"""The paper gives no number of epochs."""

DROPOUT = 0.2
WEIGHT_DECAY = 4e-5
"""The paper gives neither; these are the usual values for this network."""

SEEDS = {"smoke": 1, "small": 3, "paper": 1}

WITH_DROPOUT = ("inception_v3", "resnet50", "mlp_1x512", "mlp_3x512")
"""Networks with a field ``dropout``; others are trained without."""


@dataclass(frozen=True)
class Sizes:
    """What is trained at a scale.

    Args:
        model, width: the network, and its field of that name; none: its own.
        side: of the images, pixels; none where they are in memory.
        train, test: examples; none: all.
        batch, rate: batch size and initial learning rate.
        steps: updates.
        every: epochs between two snapshots.
    """

    model: str
    width: float | int | None
    side: int | None
    train: int | None
    test: int | None
    batch: int
    rate: float
    steps: int
    every: int


def sizes(request: Request) -> Sizes:
    """The sizes for a request: the published network on a folder of images, a narrow one on images in memory."""
    facts, scale = request.data, request.scale
    if scale == "paper" and is_image(request):
        batch = min(256, facts.train_size)
        steps = EPOCHS * max(1, facts.train_size // batch)
        if facts.streamed:
            return Sizes("inception_v3", None, 299, None, None, batch, 0.1, steps, 2)
        return Sizes("resnet50", None, None, None, None, batch, 0.1, steps, 2)
    train = min({"smoke": 64, "small": 6400 if facts.streamed else 512}.get(scale, facts.train_size), facts.train_size)
    test = min({"smoke": 64, "small": 2000}.get(scale, facts.test_size), facts.test_size)
    if facts.streamed and scale == "smoke":
        return Sizes("inception_v3", 0.1, 75, train, test, min(16, train), 0.002, 24, 1)
    if facts.streamed:
        return Sizes("inception_v3", 0.5, 139, train, test, min(128, train), 0.05, 30 * (train // min(128, train)), 3)
    if not is_image(request) or scale == "smoke":  # fifty layers take more than seconds to fit anything
        return Sizes("mlp_1x512", None, None, train, test, min(32, train), 0.05, 300, 5)
    return Sizes("resnet50", 8, None, train, test, min(64, train), 0.05, 400, 4)


def specs(request: Request) -> list[RunSpec]:
    """Every row of Table 2; at scale smoke all regularisers, none, and none on random labels."""
    rows = [row for row in ROWS if request.scale != "smoke" or row in (ROWS[0], ROWS[3], ROWS[6])]
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for model in request.models or (sizes(request).model,):
            runs += [protocol(request, model, row, seed) for row in rows]
    return distinct(runs)


def protocol(request: Request, model: str, row: Variant, seed: int) -> RunSpec:
    """One run of a row."""
    at, paper = sizes(request), request.scale == "paper"
    fields: dict[str, float] = {"width": at.width} if model == at.model and at.width is not None else {}
    if row.dropout and model in WITH_DROPOUT:
        fields["dropout"] = DROPOUT
    augmentation: Literal["none", "crop", "resized_crop"] = "none"
    if row.augmentation and is_image(request):
        augmentation = "resized_crop" if request.data.streamed else "crop"
    crop = crop_side(request, augmented=augmentation == "crop") if not request.data.streamed else None
    epoch = max(1, (at.train or request.data.train_size) // at.batch)
    half = paper and request.device == "cuda"
    return RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=at.train,
            test_size=at.test,
            crop=crop,
            image_size=at.side,
            whiten=not request.data.streamed,
        ),
        corruption=CorruptionSpec(name="random_labels" if row.random_labels else "true_labels"),
        model=ModelSpec(name=model, fields=fields),
        training=TrainingSpec(
            learning_rate=at.rate,
            weight_decay=WEIGHT_DECAY if row.weight_decay else 0.0,
            batch_size=at.batch,
            schedule="exponential" if paper else "constant",
            decay=0.94 if paper else 0.95,
            decay_steps=2 * epoch if paper else None,
            augmentation=augmentation,
            max_steps=at.steps,
            stop_when_fitted=request.scale == "smoke",
        ),
        compute={"device": request.device, "dtype": "bfloat16" if half else "float32"},  # type: ignore[arg-type]
        measures=MeasureSpec(names=("accuracy", "top5"), points_per_decade=0, every_epochs=at.every),
        seed=seed,
    )


def answer(records: Records) -> str:
    """Whether noise is fitted on ImageNet, and what the regularisers are worth."""
    noisy = [record for record in records if record.spec.corruption.name == "random_labels"]
    train, test = accuracy_of(noisy, "train_accuracy"), accuracy_of(noisy, "test_accuracy")
    if train is None or test is None:
        return "No run on random labels has ended yet, so there is no answer. Run the same command again to go on."
    fitted = sum(record.status is Status.DONE for record in noisy)
    first = (
        f"On random labels the training accuracy ends at {train.value:.1%} ({fitted} of {len(noisy)} trainings reach "
        f"99%), and the test accuracy at {test.value:.1%}, where guessing gives {chance(records):.1%}."
    )
    cost = cost_of_switching_off(records)
    if cost is None:
        return first + " What switching every regulariser off costs cannot be told yet."
    return first + (
        f" On true labels, switching augmentation, dropout and weight decay off costs {100 * cost.value:.1f} points of "
        "top-1 test accuracy."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at = sizes(request)
    told = [
        "Synchronous SGD on one device, or on several with one gradient for all, where the paper has 50 workers that "
        "update a common copy as they come.",
        "Where several processes share a batch, each normalises its own part of it.",
        "Random crops are followed by flips and by no distortion of colours.",
    ]
    if request.data.name != "imagenet":
        told.append(f"The data are {request.data.name}, not ImageNet: numbers are shown, effects are judged.")
    if request.scale == "paper" and request.device == "cuda":
        told.append("Forward and backward passes in bfloat16, weights in float32.")
    if request.scale != "paper":
        width = "" if at.width is None else f" (width {at.width:g})"
        side = "" if at.side is None else f" at {at.side} x {at.side} pixels"
        told.append(
            f"{at.model}{width}{side} on {at.train or request.data.train_size:,} of {request.data.train_size:,} "
            f"training examples; batches of {at.batch}, a constant rate of {at.rate:g}, {at.steps} updates."
        )
    if not request.data.streamed:
        told.append("Images are in memory and augmented by random crops of seven eighths of the side.")
    return (*told, *request.data.notes)


def weight(spec: RunSpec) -> int:
    """About how costly an update is beside one of the smallest network."""
    return 1000 if spec.data.image_size is not None else 200


CHOICES = (
    ("optimiser", "SGD with momentum 0.9, rate 0.1 times 0.94 every two epochs, batches of 256 over all processes"),
    ("length of a training", f"{EPOCHS} epochs, measured every second one"),
    ("weight decay", f"{WEIGHT_DECAY:g} on every parameter"),
    ("dropout", f"{DROPOUT:g} of the means before the last layer"),
    ("augmentation", "a crop of 8% to 100% of the area, aspect ratio 3/4 to 4/3, brought to 299 x 299, flipped or not"),
    ("images without augmentation, and of the test set", "the middle 87.5% of the shorter side, brought to 299 x 299"),
    ("label smoothing", "none"),
    ("auxiliary classifier", "its loss counts 0.4 in training"),
    ("test split", "the 50,000 validation images, one view each"),
    ("best so far", "the largest test accuracy over the snapshots of a run"),
    ("seeds", "one at scale paper, as in the paper; --seeds 3 gives intervals"),
)

study = register(
    Study(
        name="zhang2017-imagenet",
        paper=ZHANG_2017,
        question="Does a network fit random labels on ImageNet too, and what are explicit regularisers worth there?",
        datasets=("imagenet",),
        specs=specs,
        claims=claims(),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=weight,
        streamed=True,
    )
)
