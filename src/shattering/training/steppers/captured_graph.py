"""A function on a GPU, recorded once as a CUDA graph and then replayed, which costs the host one call.

On a CPU nothing is recorded and the function itself is called, so that what is recorded on a GPU can be tested there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UPS = 3
"""Calls before a function is recorded: libraries choose their kernels and take their memory in the first ones."""

TOLERANCE = 0.02
"""A replay may differ from the function's own call by this part of what the call changes in a tensor."""


class NotCaptured(Exception):
    """Why a function could not be recorded, in a clause."""


def replayable(
    body: Callable[[], None],
    tensors: Sequence[Tensor],
    recording: Callable[[bool], None] = lambda begins: None,
) -> Callable[[], None]:
    """A function that does what ``body`` does, recorded on the GPU where the tensors are; ``body`` itself on a CPU.

    ``body`` is called a few times to warm up, and a replay is compared with one of its calls; afterwards all is as it
    was before.

    Args:
        body: reads and writes tensors at fixed places, and asks the GPU for no value.
        tensors: all that it changes.
        recording: called with true before the recording and with false after it.

    Raises:
        NotCaptured: it cannot be recorded, or a replay does something else. The tensors are as they were.
    """
    if tensors[0].device.type != "cuda":
        return body
    kept = Kept(tensors)
    main = torch.cuda.current_stream()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(main)
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            body()
            kept.restore()
        body()
        wanted = [tensor.detach().clone() for tensor in tensors]
        kept.restore()
    main.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    recording(True)
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            body()
    except Exception as error:
        raise NotCaptured(_clause(error)) from error
    finally:
        torch.cuda.set_stream(main)  # a recording that fails leaves its own stream behind
        recording(False)
    graph.replay()
    differing = kept.differing(wanted)
    kept.restore()
    if differing:
        raise NotCaptured(
            f"a replayed step changes {differing} of {len(tensors)} tensors otherwise than the step itself"
        )
    return graph.replay


class Kept:
    """Copies of tensors, to put them back as they were.

    Args:
        tensors: of any kind.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = [tensor.detach() for tensor in tensors]
        self.copies = [tensor.clone() for tensor in self.tensors]

    def restore(self) -> None:
        """Puts them back, in place."""
        for tensor, copy in zip(self.tensors, self.copies, strict=True):
            tensor.copy_(copy)

    def differing(self, wanted: Sequence[Tensor]) -> int:
        """How many are not what they should be, beside what was to change in them; what is not finite counts alike."""
        bad = []
        for tensor, before, after in zip(self.tensors, self.copies, wanted, strict=True):
            if not tensor.is_floating_point():  # counters move by what they move; hits are near what they were
                bad.append(((tensor - after).abs() > (after - before).abs().amax() / 2).any())
                continue
            change = (after - before).abs().nan_to_num(0.0, 0.0, 0.0).amax()
            # What rounds to another neighbour differs by an epsilon of the value, however little was to change.
            size = after.abs().nan_to_num(0.0, 0.0, 0.0).amax()
            room = TOLERANCE * change + 4 * torch.finfo(tensor.dtype).eps * size
            wrong = ~((tensor - after).abs() <= room) & (tensor.isfinite() | after.isfinite())
            bad.append(wrong.any())
        return int(torch.stack(bad).sum())


def _clause(error: BaseException) -> str:
    """The first line of an error: where a recording broke off, of the error that broke it."""
    first = error
    while first.__context__ is not None:
        first = first.__context__
    return f"{type(first).__name__}: {(str(first).splitlines() or [''])[0][:200]}"
