"""Listing: everything registered is named, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shattering.core.registry import Registry
from shattering.core.study import studies
from shattering.corruptions.registry import corruptions
from shattering.data.dataset import datasets
from shattering.learners.registry import learners
from shattering.measures.registry import measures
from shattering.models.registry import models

KINDS: dict[str, tuple[Registry[Any], ...]] = {
    "studies": (studies,),
    "models": (models, learners),
    "measures": (measures,),
    "corruptions": (corruptions,),
    "datasets": (datasets,),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_name_is_listed(kind: str, tiny_study: str, shattering: Any) -> None:
    called = shattering("list", kind)
    as_json = shattering("list", kind, "--json")
    names = sorted(name for registry in KINDS[kind] for name in registry.names())

    assert (called.code, called.err) == (0, "")
    assert [line for line in called.out.splitlines() if not line.startswith(" ")] == names
    assert (as_json.code, as_json.err) == (0, "")
    assert [entry["name"] for entry in json.loads(as_json.out)[kind]] == names


def test_without_a_kind_studies_are_told_with_their_paper_and_the_way_on(tiny_study: str, shattering: Any) -> None:
    called = shattering("list")

    assert called.code == 0
    for told in (tiny_study, "Author et al. (2017)", "Does it run?", "shattering run STUDY", "shattering list models|"):
        assert told in called.out


def test_an_unknown_kind_gets_the_nearest(shattering: Any) -> None:
    called = shattering("list", "modles")

    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error [option-wrong-value]: ")
    assert '"models"' in called.err
