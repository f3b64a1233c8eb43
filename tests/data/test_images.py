from __future__ import annotations

import data_writers as write
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shattering.core.errors import DataError
from shattering.data.images import decode_image, decode_images, encode_png, read_header


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(channels: int) -> None:
    image = write.examples(1, (5, 7, channels))[0][0]
    back, tally = decode_image(encode_png(image), "here")
    np.testing.assert_array_equal(back, image)
    assert tally == {"png": 1}


def test_jpeg_is_near_and_counted() -> None:
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    back, tally = decode_image(write.jpeg_bytes(image), "here")
    assert tally == {"jpeg": 1} and np.abs(back.astype(int) - image).max() <= 4


@pytest.mark.parametrize(
    ("mode", "channels", "tally"),
    [
        ("L", 1, {"png": 1}),
        ("1", 1, {"png": 1}),
        ("LA", 1, {"png": 1, "alpha": 1}),
        ("P", 3, {"png": 1, "palette": 1}),
        ("RGBA", 3, {"png": 1, "alpha": 1}),
    ],
)
def test_modes_are_converted_and_counted(mode: str, channels: int, tally: dict[str, int]) -> None:
    data = write.png_bytes(write.examples(1, (4, 4, 3))[0][0], mode)
    image, found = decode_image(data, "here")
    assert image.shape == (4, 4, channels) == read_header(data, "here").shape
    assert found == tally


def test_grey_becomes_colour_where_asked_and_colour_never_grey() -> None:
    grey = write.examples(1, (4, 4, 1))[0][0]
    image, tally = decode_image(encode_png(grey), "here", channels=3)
    np.testing.assert_array_equal(image, np.repeat(grey, 3, axis=2))
    assert tally["grey"] == 1
    colour = encode_png(write.examples(1, (4, 4, 3))[0][0])
    assert decode_image(colour, "here", channels=1)[0].shape == (4, 4, 3)
    with pytest.raises(DataError, match=r"two has shape \(4, 4, 3\)"):
        decode_images([("one", encode_png(grey)), ("two", colour)], 2)


@write.STEADY
@given(st.data())
def test_damaged_images_are_refused_or_decoded_to_their_size(data: st.DataObject) -> None:
    sound = encode_png(write.examples(1, (6, 6, 3))[0][0])
    changed = bytearray(sound[: data.draw(st.integers(1, len(sound)))])
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        image, _ = decode_image(bytes(changed), "here")
    except DataError as error:
        assert error.identifier.startswith("data-image-") and "here" in error.message
    else:
        assert image.dtype == np.uint8 and image.ndim == 3


def test_only_bytes_are_encoded() -> None:
    with pytest.raises(ValueError, match="float64"):
        encode_png(np.zeros((3, 3, 1)))  # type: ignore[arg-type]
