"""What one training is asked to be. A run *is* its specification: equal specs have equal digests and equal results."""

from __future__ import annotations

import hashlib
import json
import math
import weakref
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_serializer

from shattering.core.errors import SpecError, nearest

NUMERICS_VERSION = 1
"""Part of every run's identity; raised by a change that can move a result."""

SPEC_VERSION = 1
"""Layout of the spec itself; a store written by a newer layout is refused."""

WATCHED = "watched:"
"""Begins the model's name where a training was watched, not run, by this program; its ``training`` says nothing."""


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def _truth(value: object) -> object:
    words = {"true": True, "false": False}
    if isinstance(value, str):
        value = words.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _loss_name(value: object) -> object:
    if value not in LOSSES and not (isinstance(value, str) and all(value.partition(":")[::2])):
        raise ValueError(f"write {', '.join(LOSSES)} or MODULE:FUNCTION")
    return value


LOSSES = ("cross_entropy", "squared")
"""Losses that come with the program; a name with a colon is a user's."""

LossName = Annotated[str, BeforeValidator(_loss_name)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_number)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSpec(_Part):
    """Which examples, and how they are prepared."""

    name: str = Field(default="digits", description="registered data set, or the name given to the user's own")
    train_size: Annotated[Whole, Field(ge=2)] | None = Field(
        default=None, description="size of the training subset, drawn by the stream `subset`; none: all"
    )
    test_size: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="the first so many test examples of a permutation drawn once for all runs; none: all"
    )
    replaced: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None,
        description="place in the training subset whose example gives way to one left out of it; none: no place",
    )
    tested_on: Literal["test", "left_out", "both"] = Field(
        default="test",
        description="the data's test split; the training examples left out of the subset; or these before the former",
    )
    left_out_size: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None,
        description="how many of the examples left out are tested on, drawn by the stream `subset`; none: all",
    )
    crop: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="side of the crop, pixels; none: whole"
    )
    image_size: Annotated[Whole, Field(ge=8)] | None = Field(
        default=None, description="side that images streamed from a folder are brought to, pixels; none: not streamed"
    )
    whiten: Truth = Field(
        default=True, description="per-image whitening with the adjusted deviation; streamed images else lie in -1 … 1"
    )
    fingerprint: str | None = Field(default=None, description="SHA-256 of the decoded data, filled in by the planner")

    @property
    def unselected(self) -> DataSpec:
        """The same data, all of them."""
        sizes = ("train_size", "test_size", "replaced", "left_out_size")
        return self.model_copy(update={**dict.fromkeys(sizes), "tested_on": "test"})


class CorruptionSpec(_Part):
    """What is done to the data before training."""

    name: str = "true_labels"
    fields: dict[str, Any] = Field(default_factory=dict, description="the corruption's own fields")


class BatchPart(_Part):
    """One argument of a user's network, packed with the others into the rows of a table.

    ``dtype`` is what the network is given; ``float`` stands for the run's own.
    """

    name: str = Field(default="", description="of the keyword argument; empty: passed by position")
    shape: tuple[Annotated[Whole, Field(ge=1)], ...] = Field(default=(), description="of one example's part")
    dtype: Literal["float", "int64", "int32", "uint8", "bool"] = "float"

    @property
    def width(self) -> int:
        """Columns of the table that hold it."""
        return math.prod(self.shape)


class ModelSpec(_Part):
    """Which network."""

    name: str = Field(default="mlp_1x512", description="registered model or learner, or MODULE:FACTORY")
    fields: dict[str, Any] = Field(default_factory=dict, description="the model's own fields")
    source: str | None = Field(default=None, description="SHA-256 of a user's model source, filled in by the planner")
    batch: tuple[BatchPart, ...] = Field(
        default=(), description="arguments of a user's network that a row of the data holds; none: the row is its input"
    )
    returns: Literal["logits", "structure"] = Field(
        default="logits",
        description="structure: a tuple whose first entry, or an object or dict whose `logits`, is meant; filled in by "
        "the planner",
    )


class TrainingSpec(_Part):
    """How the network is trained, and when it stops."""

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[Number, Field(gt=0)] = 0.1
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(default=0.9, description="of SGD; ignored by Adam")
    beta2: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.999, description="forgetting of squared gradients, of Adam and AdamW; ignored by SGD"
    )
    weight_decay: Annotated[Number, Field(ge=0)] = Field(
        default=0.0,
        description="ℓ2 coefficient on every parameter; of AdamW, what a step shrinks them by over its rate",
    )
    batch_size: Annotated[Whole, Field(ge=1)] = 128
    schedule: Literal["constant", "exponential", "inverse_square_root"] = "constant"
    decay: Annotated[Number, Field(gt=0, le=1)] = Field(default=0.95, description="factor of `exponential`")
    decay_steps: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="steps between decays; none: one epoch of the training set"
    )
    warmup_steps: Annotated[Whole, Field(ge=0)] = Field(
        default=0, description="first updates whose rate grows in equal parts up to that of the schedule; 0: none"
    )
    augmentation: Literal["none", "crop", "full", "resized_crop"] = Field(
        default="none",
        description="crop: random crops; full: crops, left-right flips, rotations up to 25 degrees; resized_crop: "
        "random crops of any size and flips, of streamed images",
    )
    max_steps: Annotated[Whole, Field(ge=1)] = Field(default=1000, description="budget of optimizer steps")
    fit_accuracy: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.99,
        description="fit criterion: training accuracy, evaluated on all training examples at an epoch's end",
    )
    stop_when_fitted: Truth = True
    loss: LossName = Field(
        default="cross_entropy",
        description="cross_entropy, or squared: half the squared distance to the one-hot label; with one output, to -1 "
        "or 1; or MODULE:FUNCTION of (outputs, labels)",
    )
    loss_source: str | None = Field(
        default=None, description="SHA-256 of a user's loss source, filled in by the planner"
    )
    gradient: Literal["mean", "winsorized", "median", "median_of_means", "rolling_median"] = Field(
        default="mean", description="how the gradients of a batch's examples become one; all but the mean are robust"
    )
    winsorize: Annotated[Number, Field(ge=0, lt=50)] = Field(
        default=0.0, description="percent of the examples clipped on each side, per coordinate, by `winsorized`"
    )


AT_ONCE = TrainingSpec(batch_size=1, max_steps=1, fit_accuracy=1.0, loss="squared")
"""The training of a model that is fitted at once: a learner's, one step long."""


class ComputeSpec(_Part):
    """What the arithmetic runs on; part of identity because it moves the last bits."""

    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float64", "bfloat16"] = Field(
        default="float32", description="bfloat16: autocast on a GPU, weights stay float32"
    )
    threads: Annotated[Whole, Field(ge=1)] = 1
    processes: Annotated[Whole, Field(ge=1)] = Field(
        default=1, description="processes that share each batch, started by torchrun; each normalises its own part"
    )
    channels_last: Truth = True


class MeasureSpec(_Part):
    """What is measured, and when."""

    names: tuple[str, ...] = ("accuracy", "weights")
    points_per_decade: Annotated[Whole, Field(ge=0)] = Field(default=4, description="log-spaced snapshots; 0: none")
    every_epochs: Annotated[Whole, Field(ge=0)] = Field(default=1, description="snapshots at every k-th epoch; 0: none")
    gradient_examples: Annotated[Whole, Field(ge=2)] | None = Field(
        default=None,
        description="gradients are measured on so many training examples, the same throughout a run; none: all",
    )
    example_columns: Truth = Field(
        default=True,
        description="whether the record has a row for each training example, as large runs of many need not",
    )


class SelectionSpec(_Part):
    """Which of another run's training examples this run is trained and tested on.

    The parent's examples are ranked by a column of its record, ties at random (stream ``selection``); ``part`` takes
    the lowest or highest ``fraction`` of them, where an example that was never learned (-1) ranks highest, or a random
    part. Of that part, ``held_out`` is kept apart as the test set: examples of the same kind.
    """

    parent: RunSpec
    column: str = "learning_step"
    part: Literal["lowest", "highest", "random"] = "lowest"
    fraction: Annotated[Number, Field(gt=0, le=1)] = 0.5
    held_out: Annotated[Number, Field(gt=0, lt=1)] = 0.25

    def sizes(self, examples: int) -> tuple[int, int]:
        """Training and test examples of this run, for a parent that trained on so many."""
        chosen = int(examples * self.fraction)
        held_out = round(chosen * self.held_out)
        return chosen - held_out, held_out


_CHAINS: dict[int, tuple[weakref.ref[RunSpec], dict[str, Any]]] = {}
"""Parents that live, by identity, as they stand in the specs of runs that start from them."""


class StartSpec(_Part):
    """The weights this run begins with: those another run had at a step, through a transform.

    The transform sees the parent's weights at ``step``, its weights at the end and its masks, and gives this run its
    weights and masks; see ``shattering list transforms``. The optimizer begins afresh.
    """

    parent: RunSpec
    step: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="updates the parent had made; 0: as it began, none: at its end"
    )
    transform: str = Field(default="unchanged", description="registered transform")
    fields: dict[str, Any] = Field(default_factory=dict, description="the transform's own fields")

    @field_serializer("parent", when_used="json")
    def _without_defaults(self, parent: RunSpec) -> dict[str, Any]:
        """A chain of parents is long enough without them, and told anew by every run that begins in it."""
        known = _CHAINS.get(id(parent))
        if known is None or known[0]() is not parent:
            number, tree = id(parent), parent.model_dump(mode="json", exclude_defaults=True)
            known = _CHAINS[number] = (weakref.ref(parent, lambda gone: _CHAINS.pop(number, None)), tree)
        return known[1]


class RunSpec(_Part):
    """One training and its measures.

    ``stream_seeds`` gives a purpose (``labels``, ``initialisation``, ``order``, ``augmentation``, …) a seed of its own
    in place of ``seed``, so that one source of chance varies while the others stay.
    """

    version: Whole = SPEC_VERSION
    data: DataSpec = DataSpec()
    corruption: CorruptionSpec = CorruptionSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    compute: ComputeSpec = ComputeSpec()
    measures: MeasureSpec = MeasureSpec()
    seed: Seed = 0
    stream_seeds: dict[str, Seed] = Field(default_factory=dict)
    selection: SelectionSpec | None = Field(default=None, description="the examples of another run to train on")
    start: StartSpec | None = Field(default=None, description="the weights of another run to begin with")

    @property
    def direct_parents(self) -> tuple[RunSpec, ...]:
        """The runs that this one takes examples or weights from."""
        return tuple(part.parent for part in (self.selection, self.start) if part is not None)

    @property
    def parents(self) -> tuple[RunSpec, ...]:
        """The runs whose records this one needs before it can begin, their own parents first."""
        return tuple(run for parent in self.direct_parents for run in (*parent.parents, parent))

    def sizes(self, train: int, test: int) -> tuple[int, int]:
        """Training and test examples of this run, for data of so many."""
        if self.selection is not None:
            return self.selection.sizes(self.selection.parent.sizes(train, test)[0])
        size, own = self.data.train_size or train, self.data.test_size or test
        left_out = min(train - size, self.data.left_out_size or train)
        return size, {"test": own, "left_out": left_out, "both": left_out + own}[self.data.tested_on]

    @property
    def digest(self) -> str:
        """The run's name: SHA-256 (hexadecimal, first 32 digits) of the spec without its defaults."""
        wanted = {"numerics": NUMERICS_VERSION, "spec": self.model_dump(mode="json", exclude_defaults=True)}
        text = json.dumps(wanted, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def seed_of(self, purpose: str) -> int:
        """The seed of the stream ``purpose``."""
        return self.stream_seeds.get(purpose, self.seed)

    def to_json(self) -> str:
        """The whole resolved spec, defaults included, readable and stable."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """Reads what `to_json` wrote; raises `SpecError` where it does not fit this version."""
        return parse_spec(json.loads(text))


SelectionSpec.model_rebuild()
StartSpec.model_rebuild()


def parse_spec(tree: dict[str, Any]) -> RunSpec:
    """Validates a nested mapping as a `RunSpec`; the first problem is told with its place and remedy."""
    version = tree.get("version", SPEC_VERSION)
    if isinstance(version, int) and version > SPEC_VERSION:
        raise SpecError(
            "spec-newer-version",
            f"The spec has version {version}, this program knows up to {SPEC_VERSION}; upgrade shattering.",
        )
    try:
        return RunSpec.model_validate(tree)
    except ValidationError as error:
        raise _told(error) from None


def override(spec: RunSpec, changes: dict[str, Any]) -> RunSpec:
    """A copy of ``spec`` with dotted fields replaced, such as ``{"training.learning_rate": "1e-3"}``.

    Values may be strings; they are converted to the field's type. Unknown fields raise `SpecError` with the nearest
    known one.
    """
    tree = spec.model_dump()
    for path, value in changes.items():
        *parents, last = path.split(".")
        node: Any = tree
        free = False  # inside a mapping whose keys are not ours to know (a model's own fields)
        for part in parents:
            if not isinstance(node, dict) or part not in node:
                raise _unknown(path)
            free = part in ("fields", "stream_seeds")
            node = node[part]
        if not isinstance(node, dict) or (last not in node and not free):
            raise _unknown(path)
        node[last] = None if value in ("none", "null") and (free or _optional(path)) else value
    return parse_spec(tree)


def _optional(path: str) -> bool:
    """Whether the field may be none; elsewhere, as in ``training.augmentation``, the word is a value."""
    name, _, inner = path.partition(".")
    entry = RunSpec.model_fields[name]
    if isinstance(entry.annotation, type) and issubclass(entry.annotation, _Part):
        entry = entry.annotation.model_fields[inner]
    return type(None) in get_args(entry.annotation)


def spec_fields() -> dict[str, tuple[str, Any, str]]:
    """Every dotted field with its type, default and help text, in order."""
    rows: dict[str, tuple[str, Any, str]] = {}
    for name, entry in RunSpec.model_fields.items():
        kind = entry.annotation
        if isinstance(kind, type) and issubclass(kind, _Part):
            for inner, value in kind.model_fields.items():
                default = value.get_default(call_default_factory=True)
                rows[f"{name}.{inner}"] = (str(value.annotation), default, value.description or "")
        else:
            rows[name] = (str(kind), entry.get_default(call_default_factory=True), entry.description or "")
    return rows


def _unknown(path: str) -> SpecError:
    return SpecError("spec-unknown-key", f"The spec has no field {path!r}; {nearest(path, list(spec_fields()))}")


def _told(error: ValidationError) -> SpecError:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(place)
    given = problem["input"]
    if isinstance(given, float) and not math.isfinite(given):
        given = str(given)
    message = problem["msg"].removeprefix("Value error, ")
    return SpecError("spec-wrong-value", f"{place}={given!r} is not valid: {message}; set it with --set {place}=VALUE.")
