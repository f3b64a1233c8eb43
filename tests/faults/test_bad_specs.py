"""Wrong requests: each gets its exit code, identifier and one sentence with the remedy, and nothing is written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from shattering.cli.main import main
from shattering.core.spec import CorruptionSpec, DataSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request, Study, studies

LONGEST_MESSAGE = 1000


def specs(request: Request) -> list[RunSpec]:
    return [
        RunSpec(
            data=DataSpec(train_size=64, test_size=32),
            corruption=CorruptionSpec(name=corruption),
            model=ModelSpec(name=model),
            training=TrainingSpec(batch_size=32, max_steps=2),
            seed=seed,
        )
        for model in request.models or ("mlp_1x512",)
        for corruption in ("true_labels", "random_labels")
        for seed in range(request.seeds or 1)
    ]


@pytest.fixture(autouse=True)
def study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies whose names begin alike; only the first can be planned."""
    studies.names()
    for name in ("tiny2017_noise", "tiny2018_other"):
        paper = Paper("Author et al.", 2017, "A title", "A venue", "https://example.org")
        entry = Study(
            name, paper, "Why?", ("digits",), specs, (), (), lambda records: "", lambda request: (), choices=()
        )
        monkeypatch.setitem(studies._entries, name, entry)


@dataclass(frozen=True)
class Case:
    """A wrong request.

    Args:
        name: of the test.
        words: after ``run``; ``FOLDER`` stands for a temporary folder.
        code: the exit code it must give.
        identifier: of the error.
        told: what the message must contain: the value, and the remedy.
        config: content of ``FOLDER/study.yaml``; where there is any, ``--config`` names it.
    """

    name: str
    words: str
    code: int
    identifier: str
    told: tuple[str, ...]
    config: str | bytes | None = None


def wrong(name: str, words: str, identifier: str, *told: str, code: int = 2) -> Case:
    return Case(name, words, code, identifier, told)


def configured(name: str, config: str | bytes, identifier: str, *told: str) -> Case:
    return Case(name, "tiny2017", 2, identifier, told, config)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

CASES = [
    # Names
    wrong("unknown study", "tyni2017_noise", "unknown-study", "'tyni2017_noise'", "did you mean 'tiny2017_noise'?"),
    wrong("ambiguous study", "tiny", "study-ambiguous", "'tiny'", "tiny2017_noise or tiny2018_other", "type more"),
    wrong("no study", "", "missing-argument", "STUDY", "shattering run --help"),
    wrong("two studies", "tiny2017 tiny2018", "unused-argument", "tiny2018", "shattering run --help"),
    wrong("unknown model", "tiny2017 --models mlp_1x521", "unknown-model", "'mlp_1x521'", "did you mean 'mlp_1x512'?"),
    wrong("unknown data", "tiny2017 --data digist", "unknown-dataset", "'digist'", "did you mean 'digits'?"),
    wrong(
        "unknown corruption",
        "tiny2017 --set corruption.name=random_lables",
        "unknown-corruption",
        "'random_lables'",
        "did you mean 'random_labels'?",
    ),
    wrong("unknown measure", "tiny2017 --set measures.names=acuracy", "unknown-measure", "'acuracy'", "'accuracy'"),
    wrong("unknown option", "tiny2017 --sed 3", "unknown-option", "'--sed'", "did you mean '--seeds'?"),
    wrong("unknown engine", "tiny2017 --engine spark", "option-wrong-value", "'spark'", "'local'"),
    wrong("unknown scale", "tiny2017 --scale big", "option-wrong-value", "'big'", "'smoke', 'small' or 'paper'"),
    # 56, 57: keys
    wrong(
        "unknown field",
        "tiny2017 --set training.learning_rat=1",
        "spec-unknown-key",
        "'training.learning_rat'",
        "did you mean 'training.learning_rate'?",
    ),
    wrong("field below a field", "tiny2017 --set seed.x=1", "spec-unknown-key", "'seed.x'", "did you mean"),
    wrong(
        "unknown field of a model",
        "tiny2017 --set model.fields.depth=3",
        "spec-unknown-key",
        "'depth'",
        "no field",
    ),
    wrong(
        "field set twice",
        "tiny2017 --set training.momentum=0 --set training.momentum=0.5",
        "duplicate-field",
        "training.momentum=0.5",
        "keep one",
    ),
    wrong("option given twice", "tiny2017 --scale smoke --scale paper", "repeated-option", "--scale", "--help"),
    wrong(
        "model named twice", "tiny2017 --models mlp_1x512,mlp_1x512", "duplicate-model", "'mlp_1x512'", "name it once"
    ),
    wrong(
        "assignment without =",
        "tiny2017 --set training.momentum",
        "set-malformed",
        "'training.momentum'",
        "FIELD=VALUE",
    ),
    wrong("assignment without a field", "tiny2017 --set =3", "set-malformed", "'=3'", "FIELD=VALUE"),
    configured("unknown key", "training:\n  momentun: 0", "spec-unknown-key", "study.yaml:2:3", "'training.momentum'"),
    configured("unknown option in a file", "run: {sed: 3}", "config-unknown-key", "study.yaml:1:7", "'sed'", "'seeds'"),
    configured("duplicate key", "run: {seeds: 1, seeds: 2}", "config-duplicate-key", ":1:17", "'seeds'", "keep one"),
    # 58 to 60: types
    wrong("wrong type", "tiny2017 --set training.batch_size=many", "spec-wrong-value", "'many'", "=VALUE"),
    wrong("fraction of an example", "tiny2017 --set training.batch_size=1.5", "spec-wrong-value", "'1.5'", "=VALUE"),
    wrong(
        "no choice", "tiny2017 --set training.optimizer=sgdd", "spec-wrong-value", "'sgdd'", "'sgd', 'adam' or 'adamw'"
    ),
    wrong("flag with a value", "tiny2017 --dry-run=3", "option-wrong-value", '"3"', "--help"),
    configured("sexagesimal", "training.max_steps: 12:30", "spec-wrong-value", ":1:1", "'12:30'", "=VALUE"),
    configured("no is a word", "training.stop_when_fitted: no", "spec-wrong-value", "'no'", "write true or false"),
    configured("list for a number", "training.max_steps: [1, 2]", "spec-wrong-value", "['1', '2']", "=VALUE"),
    configured("group as a field", "training: fast", "spec-wrong-value", "training", "set one, such as"),
    # 61, 62: numbers
    wrong("rate nan", "tiny2017 --set training.learning_rate=nan", "spec-wrong-value", "'nan'", "finite", "=VALUE"),
    wrong("rate inf", "tiny2017 --set training.learning_rate=inf", "spec-wrong-value", "'inf'", "finite", "=VALUE"),
    wrong(
        "rate negative", "tiny2017 --set training.learning_rate=-0.1", "spec-wrong-value", "'-0.1'", "greater than 0"
    ),
    wrong("rate overflows", "tiny2017 --set training.learning_rate=1e999", "spec-wrong-value", "'1e999'", "finite"),
    wrong("accuracy above 1", "tiny2017 --set training.fit_accuracy=1.5", "spec-wrong-value", "'1.5'", "=VALUE"),
    wrong(
        "probability above 1",
        "tiny2017 --set corruption.name=partially_corrupted_labels --set corruption.fields.p=1.5",
        "spec-fraction",
        "p=1.5",
        "from 0 to 1",
    ),
    # 63, 64, 65: seeds and sizes
    wrong("no seeds", "tiny2017 --seeds 0", "option-wrong-value", "'0'", "greater than or equal to 1"),
    wrong("negative seeds", "tiny2017 --seeds -3", "option-wrong-value", "'-3'", "greater than or equal to 1"),
    wrong("half a seed", "tiny2017 --seeds 2.5", "option-wrong-value", "'2.5'", "leave it out"),
    wrong("seeds as a word", "tiny2017 --seeds true", "option-wrong-value", "'true'", "leave it out"),
    wrong("a seed of its own", "tiny2017 --set seed=-1", "spec-planned-field", "seed='-1'", "--seeds"),
    wrong("negative stream seed", "tiny2017 --set stream_seeds.labels=-1", "spec-wrong-value", "'-1'", "=VALUE"),
    wrong("ten million runs", "tiny2017 --seeds 10000000", "plan-too-large", "10000000", "--yes"),
    wrong("too many runs in all", "tiny2017 --seeds 5001", "plan-too-large", "10002", "--yes"),
    wrong("no jobs", "tiny2017 --jobs 0", "option-wrong-value", "'0'", "greater than or equal to 1"),
    wrong("empty model", "tiny2017 --models mlp_1x512,", "empty-option", "'mlp_1x512,'", "shattering list models"),
    configured("empty sweep", "run: {models: []}", "empty-option", ":1:7", "shattering list models"),
    # 66, 67: conflicts and devices
    wrong("data by field", "tiny2017 --set data.name=mnist", "spec-planned-field", "data.name='mnist'", "--data"),
    wrong("model by field", "tiny2017 --set model.name=alexnet", "spec-planned-field", "'alexnet'", "--models"),
    wrong(
        "device by field", "tiny2017 --device cpu --set compute.device=cuda", "spec-planned-field", "'cuda'", "--device"
    ),
    wrong("unknown device", "tiny2017 --device tpu", "option-wrong-value", "'tpu'", "'cpu' or 'cuda'"),
    wrong("absent device", "tiny2017 --device cuda", "device-absent", "CUDA", "--device cpu", code=5),
    wrong("half precision", "tiny2017 --set compute.dtype=bfloat16", "spec-bfloat16-cpu", "bfloat16", "float32"),
    # 68, 69, 70, 72: what a file may not hold
    configured("alias bomb", BOMB, "config-alias", ":1:4", "'a'", "write the value out"),
    configured("code in a tag", "run: !!python/object/apply:os.abort []", "config-tag", "os.abort", "leave it out"),
    configured("newer version", "version: 99", "spec-newer-version", "99", "upgrade shattering"),
    configured("newer version beside new keys", "version: 2\nrun: {}", "spec-newer-version", "2", "upgrade shattering"),
    configured("tab", "training:\n\tmomentum: 0", "config-malformed", ":2:1", "indent with spaces"),
    configured("several documents", "run: {}\n---\nrun: {}", "config-several-documents", ":3:1", "keep one"),
    configured("not a mapping", "[1, 2]", "config-not-a-mapping", ":1:1", "mapping"),
    configured("wide characters", "run: {}".encode("utf-16"), "config-not-utf8", "0xff", "UTF-8"),
    configured(
        "byte-order mark before a wrong key", "\ufeffsede: 1", "spec-unknown-key", ":1:1", "did you mean 'seed'?"
    ),
    configured("deep nesting", "{a: " * 5000, "config-too-deep", ":1:33", "dotted keys"),
    configured("too large", "#" * 2**20, "config-too-large", "65536", "configuration file"),
    wrong("no such file", "tiny2017 --config FOLDER/none.yaml", "config-missing", "none.yaml", "check its path"),
    wrong("a folder as file", "tiny2017 --config FOLDER", "config-unreadable", "folder", "YAML file"),
    # 71, 97, 98: where results go
    wrong("output is a file", "tiny2017 --out FOLDER/file", "out-is-file", "FOLDER/file", "another folder"),
    wrong("output below a file", "tiny2017 --out FOLDER/file/runs", "out-is-file", "FOLDER/file", "another folder"),
    wrong(
        "output is no store", "tiny2017 --out FOLDER/foreign", "store-not-a-store", "FOLDER/foreign", "--out", code=5
    ),
    wrong("newer store", "tiny2017 --out FOLDER/newer", "store-newer-schema", "FOLDER/newer", "upgrade", code=5),
]


def lay_down(case: Case, folder: Path) -> list[str]:
    """Writes what the case needs, and gives the words after ``shattering``."""
    (folder / "file").write_text("mine")
    for name, content in (("foreign", "mine"), ("newer", '{"format": "shattering-store", "schema": 99}')):
        (folder / name).mkdir()
        (folder / name / ("shattering-store.json" if name == "newer" else "thesis.txt")).write_text(content)
    words = ["run", *(word.replace("FOLDER", str(folder)) for word in case.words.split()), "--dry-run"]
    if case.config is not None:
        written = case.config if isinstance(case.config, bytes) else case.config.encode()
        (folder / "study.yaml").write_bytes(written)
        words += ["--config", str(folder / "study.yaml")]
    return words if "--out" in words else [*words, "--out", str(folder / "runs")]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    words = lay_down(case, tmp_path)
    before = contents(tmp_path)

    code = main(words)

    captured = capsys.readouterr()
    assert captured.err.startswith(f"error [{case.identifier}]: "), captured.err
    assert code == case.code
    for told in case.told:
        assert told.replace("FOLDER", str(tmp_path)) in captured.err
    assert captured.err.count("\n") == 1
    assert len(captured.err) < LONGEST_MESSAGE
    assert captured.out == ""
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["unknown option", "rate nan", "alias bomb", "ten million runs", "output is a file"])
def test_refused_by_the_program_itself(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    words = lay_down(case, tmp_path)
    before = contents(tmp_path)

    program = "import sys; from shattering.cli.main import main; sys.exit(main())"
    told = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )

    assert told.returncode == case.code, told.stderr
    assert told.stderr.startswith(f"error [{case.identifier}]: ")
    assert told.stdout == ""
    assert contents(tmp_path) == before
