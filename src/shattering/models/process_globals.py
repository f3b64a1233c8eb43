"""Settings of the process that code under test must not leave changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], Any]], ...] = (
    ("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("number of threads", torch.get_num_threads, torch.set_num_threads),
    ("gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("deterministic mode", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    ("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)


@contextmanager
def restored_globals(notes: list[str]) -> Iterator[None]:
    """Puts torch's global settings and a re-seeded generator back afterwards, and notes each that had been altered.

    Draws from torch's generator are legitimate and stay drawn. The generators of Python and NumPy are put back in any
    case: no stream of a run depends on them.
    """
    before = [read() for _, read, _ in SETTINGS]
    seed, state = torch.initial_seed(), torch.get_rng_state()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        for (name, read, write), value in zip(SETTINGS, before, strict=True):
            if read() != value:
                notes.append(f"The network's code changed torch's {name} to {read()}; it was put back to {value}.")
                write(value)
        if torch.initial_seed() != seed:
            notes.append(
                f"The network's code seeded torch's global generator with {torch.initial_seed()}; it was put "
                "back, but weights drawn in between are the same for every seed."
            )
            torch.set_rng_state(state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
