"""A page in Chromium that is listened to: what it says on its console, and what it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """Opens a file in a new page.

    Args:
        browser: as the fixture gives it.
        path: the file.
        options: of the page, such as ``viewport``.

    Returns:
        The page, all that it says and every error, and every address that it asks for; both lists go on growing.
    """
    page = browser.new_page(**options)
    said, asked = listened(page)
    page.goto(path.as_uri())
    return page, said, asked


def listened(page: Any) -> tuple[list[str], list[str]]:
    """All that a page says and every error, and every address that it asks for; both lists go on growing."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return said, asked
