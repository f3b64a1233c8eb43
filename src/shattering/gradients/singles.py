"""Single examples by definition, one batch of one after another: what the engine compares itself with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError, ShatteringError
from shattering.gradients.batches import Batch, Loss, batch_size, loss_of, rows_of
from shattering.gradients.looped import gradients_of
from shattering.gradients.per_example import Alone
from shattering.gradients.refusals import require_finite, require_finite_losses


class Singles:
    """Losses and gradients of examples alone, the gradients multiplied by 2^`exponent`.

    Args:
        model: in the state that it is measured in.
        loss: the user's.
        parameters: of the model.
        restart: called before each forward.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, parameters: Mapping[str, nn.Parameter], restart: Callable[[], None]
    ) -> None:
        self.model, self.loss, self.parameters, self.restart = model, loss, dict(parameters), restart
        self.exponent = 0
        self.alone = Alone(model, self._scaled)
        self.alone.whole.register_forward_pre_hook(lambda module, given: restart())

    def _scaled(self, *given: object) -> Tensor:
        value = self.loss(*given)
        return value * 2.0**self.exponent if self.exponent else value

    def references(self, batch: Batch) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Loss and scaled gradients of the first and the last example, if there is more than one.

        Raises:
            ModelError: model or loss fail.
        """
        for i in sorted({0, batch_size(batch) - 1}):
            try:
                value = self.alone.whole(rows_of(batch, slice(i, i + 1)))
                gradients = gradients_of(value, self.parameters)
            except ShatteringError:
                raise
            except Exception as error:
                raise ModelError(
                    "gradients-model-fails",
                    f"Model and loss fail on a batch of one example: {type(error).__name__}: {first_line(error)}; "
                    "a per-example gradient needs that to work.",
                ) from error
            yield float(value.detach()) * 2.0**-self.exponent, gradients

    def losses(self, batch: Batch) -> Tensor:
        """ℓᵢ of each example, ``[n]``, float64."""
        with torch.no_grad():
            found = self.alone.over_rows(self.alone.whole, batch)
            if found is None:
                rows = range(batch_size(batch))
                found = torch.stack([self.alone.whole(rows_of(batch, slice(i, i + 1))) for i in rows])
        losses: Tensor = found.detach().double() * 2.0**-self.exponent
        return losses

    def name_first_bad(self, batch: Batch, before: int) -> None:
        """Raises the `DataError` of the first example, after so many before, whose loss or gradient is not finite."""
        for i in range(batch_size(batch)):
            for loss, gradients in self.references(rows_of(batch, slice(i, i + 1))):
                require_finite_losses(torch.tensor([loss], dtype=torch.float64), before + i)
                squares = torch.stack([g.double().square().sum().reshape(1) for g in gradients.values()])
                require_finite(gradients, squares, before + i)

    def check(self, batch: Batch, loss: float) -> None:
        """Refuses a model whose first example has no gradient, or not the ``loss`` that it had before."""
        row = rows_of(batch, slice(0, 1))
        value = self.alone.whole(row)
        if not value.requires_grad:
            raise ModelError(
                "gradients-loss-constant",
                "The loss does not depend on any parameter that requires a gradient; check for detach and no_grad.",
            )
        again = float(value.detach()) * 2.0**-self.exponent
        if loss != again and abs(loss - again) > 1e-5 * max(abs(loss), abs(again)):
            raise ModelError(
                "gradients-model-random",
                f"The loss of one example is {loss:.6g} and then {again:.6g}: the model draws at random "
                "even in evaluation mode; take the randomness out, or fix its seed inside the model.",
            )

    def mean_or_sum(self, batch: Batch, references: list[tuple[float, dict[str, Tensor]]]) -> str:
        """Which of the two the batch's gradient is, for losses near zero that cannot tell."""
        self.restart()
        with torch.enable_grad():
            value = loss_of(self.model, self.loss, batch)
        along = square = 0.0
        for name, gradient in gradients_of(value, self.parameters).items():
            total = torch.stack([gradients[name].double() for _, gradients in references]).sum(0)
            total *= 2.0**-self.exponent
            along += float((gradient.double() * total).sum())
            square += float(total.square().sum())
        return "sum" if along > 0.75 * square else "mean"


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
