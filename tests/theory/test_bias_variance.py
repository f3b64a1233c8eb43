"""The split of variance against its own definition, and against numbers whose parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import NORMAL_ONE, Stream
from shattering.theory.bias_variance import bias_variance


def normals(purpose: str, *shape: int) -> np.ndarray:
    count = int(np.prod(shape[1:]))
    return (Stream(5, purpose).normals(np.arange(shape[0]), count) / NORMAL_ONE).reshape(shape)


def test_against_sums_written_out() -> None:
    outputs, targets = normals("a", 3, 4, 5, 2), normals("b", 5, 2)

    found = bias_variance(outputs, targets)

    optimisation = between = error = 0.0
    for point in range(5):
        for k in range(2):
            means = [sum(outputs[s, o, point, k] for o in range(4)) / 4 for s in range(3)]
            within = [sum((outputs[s, o, point, k] - means[s]) ** 2 for o in range(4)) / 3 for s in range(3)]
            optimisation += sum(within) / 3 / 5
            between += sum((mean - sum(means) / 3) ** 2 for mean in means) / 2 / 5
            error += (
                sum((outputs[s, o, point, k] - targets[point, k]) ** 2 for s in range(3) for o in range(4)) / 12 / 5
            )
    assert found.optimisation == pytest.approx(optimisation, rel=1e-12)
    assert found.sampling == pytest.approx(between - optimisation / 4, rel=1e-12)
    assert found.error == pytest.approx(error, rel=1e-12)
    assert found.bias + found.optimisation + found.sampling == pytest.approx(found.error, rel=1e-12)


def test_parts_that_are_known_are_found_without_bias() -> None:
    repeats, samples, trainings = 400, 4, 3
    of_sample = 0.5 * normals("sample", repeats, samples, 1)
    of_training = 0.7 * normals("training", repeats, samples, trainings)
    outputs = 0.3 + of_sample + of_training  # off by 0.3 on a target of 0

    parts = [bias_variance(one[:, :, None, None], np.zeros((1, 1))) for one in outputs]

    for name, true in (("bias", 0.09), ("optimisation", 0.49), ("sampling", 0.25)):
        values = np.array([getattr(part, name) for part in parts])
        assert abs(values.mean() - true) < 4 * values.std(ddof=1) / np.sqrt(repeats), name


def test_trainings_that_end_alike_have_no_variance() -> None:
    outputs = np.repeat(normals("a", 3, 1, 5, 2), 4, axis=1)

    assert bias_variance(outputs, np.zeros((5, 2))).optimisation == 0.0
    with pytest.raises(ValueError, match="two samples"):
        bias_variance(outputs[:1], np.zeros((5, 2)))
