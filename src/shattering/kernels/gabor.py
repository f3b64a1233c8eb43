"""Gabor wavelets: what a picture looks like to a bank of oriented bars of several widths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import SpecError

if TYPE_CHECKING:
    import torch

BATCH_BYTES = 64 << 20
"""Filtered images of a batch take about so much memory, twice (real and imaginary part)."""

SIGMA_PER_WAVELENGTH = 0.56
"""Width of the envelope for a bandwidth of one octave: σ/λ = (1/π) · √(ln 2 / 2) · (2¹ + 1)/(2¹ - 1)."""


@dataclass(frozen=True)
class GaborBank:
    """Which wavelets, and how their answers are pooled. The defaults are those of `gabor_features`.

    Args:
        orientations: directions of the waves, evenly spaced over half a turn.
        wavelengths: of the waves, pixels.
        aspect: ellipticity γ of the envelope; 0.5 makes it twice as long as wide.
        cell: side of the squares over which magnitudes are averaged, pixels; those at the right and lower edge may
            be smaller.
    """

    orientations: int = 8
    wavelengths: tuple[float, ...] = (4.0, 4.0 * math.sqrt(2), 8.0)
    aspect: float = 0.5
    cell: int = 4

    def size(self, shape: tuple[int, ...]) -> int:
        """Number of features of an image ``[h, w, c]``."""
        height, width, channels = shape
        cells = -(-height // self.cell) * -(-width // self.cell)
        return cells * channels * self.orientations * len(self.wavelengths)


STANDARD = GaborBank()


def wavelet(wavelength: float, angle: float, aspect: float) -> NDArray[np.complex128]:
    """One Gabor wavelet with a mean of zero and a unit norm, on a square grid of odd side.

    With ``u = x cos θ + y sin θ``, ``v = -x sin θ + y cos θ`` and ``σ = 0.56 λ``:

        ψ(x, y) = exp(-(u² + γ² v²) / 2σ²) · (exp(2πi u/λ) - c)

    where the constant c makes the sum over the grid zero, so that an even grey gives no answer. Daugman (1985);
    bandwidth of one octave as in Lee (1996).

    Args:
        wavelength: λ, pixels, at least 2.
        angle: θ, radians.
        aspect: γ, in (0, 1].

    Returns:
        complex ``[side, side]``; the grid reaches 2.5 σ across the wave and along its crests.
    """
    sigma = SIGMA_PER_WAVELENGTH * wavelength
    reach = math.ceil(2.5 * sigma)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    across = x * math.cos(angle) + y * math.sin(angle)
    along = -x * math.sin(angle) + y * math.cos(angle)
    envelope = np.exp(-(across**2 + (aspect * along) ** 2) / (2 * sigma**2))
    wave = np.exp(2j * math.pi * across / wavelength)
    found: NDArray[np.complex128] = envelope * (wave - (envelope * wave).sum() / envelope.sum())
    return found / np.linalg.norm(found)


def gabor_features(
    images: NDArray[np.float32], bank: GaborBank = STANDARD, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Magnitudes of the Gabor transform, averaged over square cells.

    Each channel is filtered with every wavelet of the bank (zeros beyond the edge), the magnitude of the complex
    answer is taken, which forgets where within a wavelength a bar lies, and averaged over cells. A feature is the
    same for an image and its negative.

    Args:
        images: float32 ``[n, h, w, c]``, at least as large as a cell.
        bank: the wavelets.
        device: where the convolutions run.

    Returns:
        float32 ``[n, D]``, ``D = ⌈h/cell⌉ · ⌈w/cell⌉ · c · orientations · scales`` (1,176 for MNIST), none negative; 0
        for an image of zeros. The order of axes is (wavelength, orientation, channel, row, column).

    Raises:
        SpecError: ``gabor-not-images`` where inputs have no height and width.

    Cost: about ``n · h · w · c · Σ side² · 4`` operations (some ten seconds for 10,000 MNIST images on two cores);
    memory beside the result is bounded by `BATCH_BYTES` times three.
    """
    import torch

    if images.ndim != 4:
        raise SpecError(
            "gabor-not-images",
            f"Gabor wavelets need images [n, height, width, channels], not inputs of shape {list(images.shape)}; use "
            "another kernel for features.",
        )
    count, height, width, channels = images.shape
    features = np.empty((count, bank.size(images.shape[1:])), dtype=np.float32)
    kernels = [_kernels(wavelength, bank, torch.device(device)) for wavelength in bank.wavelengths]
    batch = max(1, BATCH_BYTES // (2 * 4 * bank.orientations * height * width * channels))
    for start in range(0, count, batch):
        chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device)
        maps = chunk.permute(0, 3, 1, 2).reshape(-1, 1, height, width)
        pooled = [_pooled_magnitudes(maps, kernel, bank) for kernel in kernels]
        # [batch · channels, scales · orientations, rows, columns] -> channels behind orientations
        joined = torch.cat(pooled, dim=1)
        joined = joined.reshape(len(chunk), channels, *joined.shape[1:]).transpose(1, 2)
        features[start : start + len(chunk)] = joined.reshape(len(chunk), -1).cpu().numpy()
    return features


def _kernels(wavelength: float, bank: GaborBank, device: torch.device) -> torch.Tensor:
    """Real parts of all orientations, then imaginary parts: ``[2 · orientations, 1, side, side]``."""
    import torch

    angles = [math.pi * turn / bank.orientations for turn in range(bank.orientations)]
    found = np.stack([wavelet(wavelength, angle, bank.aspect) for angle in angles])
    parts = np.concatenate([found.real, found.imag])[:, None]
    return torch.from_numpy(parts.astype(np.float32)).to(device)


def _pooled_magnitudes(maps: torch.Tensor, kernel: torch.Tensor, bank: GaborBank) -> torch.Tensor:
    """``[m, orientations, ⌈h/cell⌉, ⌈w/cell⌉]`` from maps ``[m, 1, h, w]``."""
    import torch
    from torch.nn.functional import avg_pool2d, conv2d

    answers = conv2d(maps, kernel, padding=kernel.shape[-1] // 2)
    magnitudes = torch.hypot(answers[:, : bank.orientations], answers[:, bank.orientations :])
    # ceil_mode divides the last, smaller cells by what they hold, not by the whole cell.
    return avg_pool2d(magnitudes, bank.cell, ceil_mode=True, count_include_pad=False)
