"""The arithmetic of a run: which kernels, how many threads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from shattering.core.spec import RunSpec


@contextmanager
def linear_algebra(spec: RunSpec) -> Iterator[list[str]]:
    """`arithmetic`, with NumPy's and SciPy's linear algebra on the spec's threads, too: what is not PyTorch's own."""
    import scipy.linalg  # noqa: F401 (it has a BLAS of its own, which can be limited only once it is loaded)

    with threadpool_limits(spec.compute.threads), arithmetic(spec) as nondeterministic:
        yield nondeterministic


@contextmanager
def arithmetic(spec: RunSpec) -> Iterator[list[str]]:
    """Deterministic kernels, no TF32, the spec's threads; yields the list of operations that had no such kernel."""
    found: list[str] = []
    if spec.compute.device == "cuda":  # read when the first matrix is multiplied; without it, cuBLAS may vary
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    torch.set_num_threads(spec.compute.threads)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    generator = torch.get_rng_state()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
        for warning in caught:
            text = str(warning.message)
            if "deterministic implementation" in text:
                found.append(text.split(" ")[0])
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_rng_state(generator)
