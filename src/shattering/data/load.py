"""The one way in: a registered name or a path becomes `Splits`. Nothing is ever downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from shattering.core.errors import DataError
from shattering.data.cache import cache_folder
from shattering.data.dataset import DatasetEntry, Splits, datasets
from shattering.data.files import absent, choose, show


def load_data(name: str, data_dir: Path | None = None, *, streamed: bool = False) -> Splits:
    """Reads a data set.

    Args:
        name: a registered name, looked for in ``data_dir``, then in ``SHATTERING_DATA``, then in the cache folder's
            ``data`` (in each, in the subfolder of that name first); or a path: an ``.npz`` file, an image folder, a
            folder of ``train.parquet`` and ``test.parquet``, or a folder with the files of a registered data set.
        data_dir: where to look first.
        streamed: leave a folder of images on the disk (see `shattering.data.streamed`); other forms are read whole.

    Raises:
        SpecError: ``name`` is neither registered nor a path.
        DataError: the data are missing, damaged or unfit.
    """
    if name in datasets.names():
        return _load_registered(datasets.get(name), data_dir)
    path = Path(name).expanduser()
    if os.sep in name or "/" in name or name.endswith(".npz") or os.path.lexists(path):
        return _load_path(path, streamed)
    return _load_registered(datasets.get(name), data_dir)


def places(data_dir: Path | None = None) -> list[Path]:
    """The folders that are searched for registered data sets, in order."""
    configured = os.environ.get("SHATTERING_DATA")
    folders = [data_dir, Path(configured).expanduser() if configured else None, cache_folder() / "data"]
    return [folder for folder in folders if folder is not None]


def _load_registered(entry: DatasetEntry, data_dir: Path | None) -> Splits:
    if not entry.files:
        return entry.load(data_dir)
    if data_dir is not None and not data_dir.is_dir():  # else a misspelt folder is passed over for another's data
        told = f"There is no folder {show(data_dir)}, which --data-dir (in Python `data_dir`) names; check the path."
        raise DataError("data-missing", f"{told} {entry.where}")
    searched = [folder for place in places(data_dir) for folder in (place / entry.name, place)]
    for folder in searched:
        if choose(folder, entry.files) is not None:
            return entry.load(folder)
    for folder in searched:
        lacking = absent(folder, entry.files)
        if lacking:
            raise DataError(
                "data-incomplete",
                f"{show(folder)} lacks {', '.join(lacking)} of {entry.name}; add what is missing. {entry.where}",
            )
    listed = ", ".join(show(place) for place in places(data_dir))
    raise DataError(
        "data-missing",
        f"The data set {entry.name} was not found; searched: {listed}. {entry.where} "
        "Then name FOLDER with --data-dir or in SHATTERING_DATA.",
    )


def _load_path(path: Path, streamed: bool) -> Splits:
    from shattering.data.folder import has_layout, read_folder
    from shattering.data.npz import read_npz
    from shattering.data.parquet import FILES, read_parquet_folder

    if not path.is_dir():
        if path.suffix == ".npz" or not path.exists():
            return read_npz(path)
        raise DataError(
            "data-form",
            f"{show(path)} is not a form of data that is read; give an .npz file, an image folder with train/CLASS and "
            f"test/CLASS, or a folder with {' and '.join(FILES)}.",
        )
    named = dict(datasets).get(path.resolve().name)
    if named is not None and choose(path, named.files) is not None:
        return named.load(path)
    if has_layout(path):
        from shattering.data.streamed import stream_folder

        return stream_folder(path) if streamed else read_folder(path)
    if choose(path, (FILES,)) is not None:
        return read_parquet_folder(path, show(path.resolve().name))
    for _, entry in datasets:
        if choose(path, entry.files) is not None:
            return entry.load(path)
    for _, entry in datasets:
        lacking = absent(path, entry.files)
        if lacking:
            raise DataError(
                "data-incomplete", f"{show(path)} lacks {', '.join(lacking)} of {entry.name}; add what is missing."
            )
    held = [name for name, entry in datasets if entry.files and choose(path / name, entry.files) is not None]
    hint = f" It contains {', '.join(held)}: give that name, and this folder as --data-dir." if held else ""
    raise DataError(
        "data-form",
        f"{show(path)} holds no data set in a form that is read; lay it down as train/CLASS/image and "
        f"test/CLASS/image, as {' and '.join(FILES)}, or give an .npz file.{hint}",
    )
