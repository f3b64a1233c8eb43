"""Who a step of stochastic gradient descent serves: shares in the gradient of a mini-batch, from those of the whole."""

from __future__ import annotations

from dataclasses import replace

from shattering.core.record import Record, Row

NEEDED = (
    "m_coherence",
    "alpha",
    "gradient_norm",
    "pristine_m_coherence",
    "pristine_alpha",
    "corrupt_m_coherence",
    "corrupt_alpha",
    "pristine_share",
)
"""Numbers of the measures ``coherence`` and ``contributions`` that a snapshot must have."""


def with_step_shares(record: Record) -> Record:
    """``record`` with the shares of pristine and corrupt examples in an average mini-batch, at every snapshot.

    A step is made with the gradient g_B of a batch B of b examples, not with that of all m. There an example's own
    ‖gᵢ‖² weighs m/b times as much beside its products with the others as it does in the sum over all, so gradients
    that agree with no other count for more. With s = Σ_p‖gᵢ‖² / Σ‖gᵢ‖², M = ‖Σgᵢ‖² / Σ‖gᵢ‖²,
    f_p = ⟨g, gᵖ⟩ / ⟨g, g⟩ and κ = (b - 1) / (m - 1),

        E⟨g_B, g_Bᵖ⟩ / E⟨g_B, g_B⟩ = ((1 - κ) s + κ f_p M) / ((1 - κ) + κ M),

    exactly, over batches drawn from the m examples without replacement; of s nothing is recorded, but M and f_p of all
    and the M of each group give it. At b = m this is f_p, at b = 1 it is s.

    Added to rows that have the needed numbers:

    * ``step_pristine_share``, ``step_corrupt_share``: that share and 1 less it (Chatterjee 2020, f_p and f_c, with g
      the gradient of a step). Where the tags mean nothing the expectation is the fraction of pristine examples.
    * ``step_pristine_contribution``, ``step_corrupt_contribution``: mean over the examples i of a group of the
      expectation of ⟨ḡ_B, gᵢ⟩ over batches that hold i: how much the loss of such an example falls in its own step, to
      first order, per unit of learning rate.
    * ``pristine_fraction``: of the examples on which gradients are measured.

    Args:
        record: a run with the measures ``coherence`` and ``contributions``; others come back as they are.
    """
    batch = record.spec.training.batch_size
    return replace(record, rows=tuple(row | _step_numbers(row, batch) for row in record.rows))


def _step_numbers(row: Row, batch: int) -> Row:
    if any(name not in row for name in NEEDED) or not row["m_coherence"] or not row["alpha"]:
        return {}
    whole, pristine, corrupt = (
        float(row[name]) for name in ("m_coherence", "pristine_m_coherence", "corrupt_m_coherence")
    )
    if not pristine + corrupt or not row["pristine_alpha"] or not row["corrupt_alpha"]:
        return {}
    share = float(row["pristine_share"])
    # ‖gᵖ‖² - ‖gᶜ‖² = (f_p - f_c)‖g‖², each norm its group's coherence times its sum of squares.
    squares = ((2 * share - 1) * whole + corrupt) / (pristine + corrupt)
    examples = whole / float(row["alpha"])
    counts = {"pristine": pristine / float(row["pristine_alpha"]), "corrupt": corrupt / float(row["corrupt_alpha"])}
    others = (min(batch, examples) - 1) / (examples - 1) if examples > 1 else 0.0
    total = (examples * float(row["gradient_norm"])) ** 2 / whole
    parts = {
        "pristine": (1 - others) * squares + others * share * whole,
        "corrupt": (1 - others) * (1 - squares) + others * (1 - share) * whole,
    }
    step = parts["pristine"] + parts["corrupt"]
    numbers: Row = {"pristine_fraction": counts["pristine"] / examples}
    for group, part in parts.items():
        numbers[f"step_{group}_share"] = part / step
        numbers[f"step_{group}_contribution"] = part * total / (counts[group] * min(batch, examples))
    return numbers
