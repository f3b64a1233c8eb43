"""Encoded images to arrays and back: PNG and JPEG only, measured before they are decoded."""

from __future__ import annotations

import io
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.memory import require

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 50_000_000

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3}
_CONVERTED = {
    "palette": "images had a palette and were converted to RGB",
    "alpha": "images had transparency, which was dropped",
    "grey": "grey images were converted to RGB",
}


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded."""

    height: int
    width: int
    channels: int
    format: str
    mode: str

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def read_header(data: bytes, where: str) -> Header:
    """Size and kind of a PNG or JPEG image; raises `DataError` where it is not one, too large, 16-bit or CMYK."""
    return _open(data, where)[1]


def decode_image(
    data: bytes, where: str, channels: int | None = None, *, cmyk: bool = False
) -> tuple[NDArray[np.uint8], Counter[str]]:
    """Decodes one image.

    Args:
        data: the encoded bytes.
        where: the place for messages.
        channels: 3 makes grey images RGB; none keeps what the image has.
        cmyk: convert CMYK images to RGB, of which ImageNet has two dozen, instead of refusing them.

    Returns:
        uint8 ``[height, width, channels]`` and a tally: the format in lower case, and ``palette``, ``alpha`` or
        ``grey`` where the image was converted.

    Raises:
        DataError: not PNG or JPEG, truncated or damaged, more than 50 million pixels, 16-bit, CMYK.
    """
    image, header = _open(data, where, cmyk=cmyk)
    tally = Counter([header.format.lower()])
    wanted = max(channels or 0, header.channels)
    if header.mode in ("P", "PA"):
        tally["palette"] += 1
    if header.mode in ("LA", "PA", "RGBA"):
        tally["alpha"] += 1
    if wanted > header.channels:
        tally["grey"] += 1
    try:
        with _without_warnings():
            target = "L" if wanted == 1 else "RGB"
            array = np.asarray(image if image.mode == target else image.convert(target))
    except Exception as error:
        raise _damaged(where, error) from None
    return array.reshape(header.height, header.width, wanted), tally


def decode_images(
    cells: Iterable[tuple[str, bytes]], count: int, *, shape: tuple[int, int, int] | None = None
) -> tuple[NDArray[np.uint8], Counter[str]]:
    """Decodes ``count`` images of one size into uint8 ``[count, height, width, channels]``, with their tally.

    Args:
        cells: the place and the encoded bytes of each image.
        count: how many there are.
        shape: of every image; none: that of the first.

    Raises:
        DataError: as `decode_image`; a size that differs; not enough memory.
    """
    total: Counter[str] = Counter()
    result: NDArray[np.uint8] | None = None
    for index, (where, data) in enumerate(cells):
        image, tally = decode_image(data, where, channels=shape[2] if shape else None)
        if result is None:
            shape = shape or image.shape
            assert shape is not None
            require(count * int(np.prod(shape)), f"Decoding {count} images such as {where}")
            result = np.empty((count, *shape), dtype=np.uint8)
        if image.shape != result.shape[1:]:
            raise DataError(
                "data-mixed-sizes",
                f"{where} has shape {image.shape} where {result.shape[1:]} is expected; "
                "resize all images to one size and kind.",
            )
        result[index] = image
        total += tally
    if result is None:
        raise DataError("data-too-few", "There is not one image to decode; add images.")
    return result, total


def conversion_notes(tally: Counter[str]) -> tuple[str, ...]:
    """One note per kind of conversion, with its count."""
    return tuple(f"{tally[kind]} {text}" for kind, text in _CONVERTED.items() if tally[kind])


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """``image`` (uint8 ``[height, width, channels]``, one or three channels) as a PNG file's bytes."""
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected uint8 [height, width, 1 or 3], got {image.dtype} {image.shape}")
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)).save(stream, format="PNG")
    return stream.getvalue()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Within it Pillow's warnings are silent, but for the one of too many pixels, which is an error.

    Filters belong to the process, and threads that set them side by side would put back one another's; in a thread they
    are left alone. There the warning of too many pixels is followed by our own, lower limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _open(data: bytes, where: str, *, cmyk: bool = False) -> tuple[Image, Header]:
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow warns before it refuses; both mean an image too large, and its warning must not reach the user.
        with _without_warnings():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _huge(where, "more than 89 million") from None
    except UnidentifiedImageError:
        raise DataError(
            "data-image-format",
            f"{where} is not a PNG or JPEG image (it begins with 0x{data[:4].hex()}); convert or remove it.",
        ) from None
    except Exception as error:
        raise _damaged(where, error) from None
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise _huge(where, f"{image.width} x {image.height}")
    # Pillow reduces 16-bit colour to 8 bits without a word, so the depth is read from the PNG header.
    if (image.format == "PNG" and data[24:25] == b"\x10") or image.mode.startswith(("I", "F")):
        raise DataError("data-image-depth", f"{where} has 16 bits per channel; convert it to 8 bits.")
    channels = 3 if cmyk and image.mode == "CMYK" else _CHANNELS.get(image.mode)
    if channels is None:
        raise DataError("data-image-mode", f"{where} has the colour mode {image.mode}; convert it to RGB or grey.")
    kind = str(image.format)
    return image, Header(image.height, image.width, channels, kind, image.mode)


def _damaged(where: str, error: Any) -> DataError:
    return DataError("data-image-damaged", f"{where} cannot be decoded ({error}); restore or remove it.")


def _huge(where: str, size: str) -> DataError:
    return DataError(
        "data-image-huge", f"{where} has {size} pixels, over the limit of {MAX_PIXELS}; scale it down or remove it."
    )
