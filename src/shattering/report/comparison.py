"""The papers behind one or more stores, claim by claim, beside what was found; what was not run is among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.disk import told
from shattering.core.errors import SpecError, StoreError, nearest
from shattering.core.plan import Plan
from shattering.core.study import Claim, Study, find_study, studies
from shattering.core.words import plural
from shattering.report.summary import summarise
from shattering.report.words import VERDICTS
from shattering.store.marker import MARKER
from shattering.store.store import Store

MIXED = "mixed"
"""In place of a verdict where runs equally close to the paper's disagree."""

NUMBERS = ("reproduced", "not reproduced", "inconclusive")
"""Verdicts that compare the number itself."""

ORDER = (*(word for word in VERDICTS if word != "not run"), MIXED, "not run")
"""Verdicts in the order in which they are counted."""

RESULT = ("ours", "low", "high", "seeds", "verdict")


def open_stores(folder: Path) -> list[Store]:
    """The store at ``folder``, or those one level below it, sorted by name; opened for reading.

    Folders below it that are no store are passed over.

    Raises:
        SpecError: ``out-is-file`` where ``folder`` is a file.
        StoreError: ``store-missing`` where there is nothing at ``folder``, ``store-not-a-store`` where neither it nor a
            folder in it is a store, and whatever `Store.open` raises for a damaged or newer one.
    """
    with told(folder, "Opening"):
        if folder.is_file():
            message = f"{folder} is a file; name the folder of a store, or a folder that holds stores."
            raise SpecError("out-is-file", message)
        inside = io.names(folder)
        found = [path for path in (folder, *(folder / name for name in inside)) if io.size(path / MARKER) is not None]
    if folder in found:
        return [Store.open(folder, write=False)]
    if not inside:
        raise StoreError("store-missing", f"There is no store at {folder}; make one with `shattering run`.")
    if not found:
        message = f"Neither {folder} nor a folder in it is a store; make one with `shattering run --out {folder}/NAME`."
        raise StoreError("store-not-a-store", message)
    return [Store.open(path, write=False) for path in found]


def compare_stores(stores: Sequence[Store], *, paper: str | None = None, study: str | None = None) -> dict[str, Any]:
    """Aligns the claims of every plan in every store, and of every other study of the same papers.

    Args:
        stores: what to read.
        paper: the beginning of a study's name, or a part of a paper's citation or title: only the papers that match.
        study: a study's name or a unique beginning of it: only that study.

    Returns:
        ``stores`` (paths), ``left_aside`` (what of them could not be told of, a sentence each), ``summaries`` (the
        object of ``--json`` per plan, each with ``label``, and ``setting``: data, scale and what else was asked for),
        ``papers`` (``paper``, ``title``, ``studies``, ``claims``, ``verdicts``), ``studies`` (``study``, ``paper``,
        ``question``, ``summaries`` as positions, ``claims``, ``verdicts``), and ``claims``: one entry per distinct
        (study, source, quantity) with ``paper``, ``study``, ``source``, ``quantity``, ``unit``, ``published``,
        ``tolerance``, ``provenance``, ``data``, ``effect``, ``verdict`` (see `overall`) and ``results``, which has one
        of ``ours``, ``low``, ``high``, ``seeds``, ``verdict`` per summary, in their order, or none where that plan is
        another study's.

        A study without a plan has every claim *not run*. Papers of which no study has a plan are left out, unless
        they are asked for.

    Raises:
        SpecError: ``unknown-paper`` or ``unknown-study`` where ``paper`` or ``study`` names none; ``study-ambiguous``
            where ``study`` could be several; ``study-elsewhere`` where it is of another paper than ``paper``.
    """
    found = [(store, store.plans()) for store in stores]
    left_aside = [f"The store {store.root} holds no plan." for store, plans in found if not plans]
    installed = studies.names()
    left_aside += [
        f"The store {store.root} holds a plan of the study {plan.study!r}, which is not installed here."
        for store, plans in found
        for plan in plans
        if plan.study not in installed and plan.sweep is None
    ]
    plans = [(store, plan) for store, several in found for plan in several if plan.study in installed]
    chosen = _chosen([plan.study for _, plan in plans], paper, study)
    names = {each.name for each in chosen}
    kept = [(store, plan) for store, plan in plans if plan.study in names]
    summaries = [
        {
            "label": f"{store.root.name or store.root}: {plan.key}",
            "setting": _setting(plan, studies.get(plan.study)),
            **summarise(store, plan),
        }
        for store, plan in kept
    ]
    claims = [_aligned(each, place, claim, summaries) for each in chosen for place, claim in enumerate(each.claims)]
    by_study = [
        {
            "study": each.name,
            "paper": each.paper.cite,
            "question": each.question,
            "summaries": [place for place, summary in enumerate(summaries) if summary["study"] == each.name],
            **_counted([claim for claim in claims if claim["study"] == each.name]),
        }
        for each in chosen
    ]
    by_paper = [
        {
            "paper": each.cite,
            "title": each.title,
            "studies": [one.name for one in chosen if one.paper == each],
            **_counted([claim for claim in claims if studies.get(claim["study"]).paper == each]),
        }
        for each in dict.fromkeys(one.paper for one in chosen)
    ]
    return {
        "stores": [str(store.root) for store in stores],
        "left_aside": left_aside,
        "summaries": summaries,
        "papers": by_paper,
        "studies": by_study,
        "claims": claims,
    }


def overall(verdicts: Sequence[tuple[str, bool]]) -> str:
    """The one verdict that a claim is counted under.

    Where it was run several times, the runs closest to the paper's count: numbers compared come before effects judged,
    and effects on the data of the paper before effects on other data.

    Args:
        verdicts: of every plan, each with whether it was run on the data that the number was published for.

    Returns:
        A verdict; `MIXED` where equally close ones differ; *not run* where there is none.
    """
    ranked: dict[int, set[str]] = {}
    for verdict, on_its_data in verdicts:
        if verdict != "not run":
            ranked.setdefault(2 if verdict in NUMBERS else int(on_its_data), set()).add(verdict)
    if not ranked:
        return "not run"
    closest = ranked[max(ranked)]
    return closest.pop() if len(closest) == 1 else MIXED


def _chosen(planned: Sequence[str], paper: str | None, study: str | None) -> list[Study]:
    """The studies to be told of, by paper, planned ones first: those of the papers that ``planned`` are of, or one."""
    known = [each for _, each in studies]
    papers = {studies.get(name).paper for name in planned}
    if paper is not None:
        papers = {each.paper for each in known if _is_of(each, paper)}
        if not papers:
            names = sorted({each.name.partition("-")[0] for each in known})
            raise SpecError("unknown-paper", f"No study is of a paper {paper!r}; {nearest(paper, names)}")
    if study is not None:
        wanted = find_study(study)
        if paper is not None and wanted.paper not in papers:
            message = f"The study {wanted.name!r} is of {wanted.paper.cite}, not of {paper!r}; leave out --paper."
            raise SpecError("study-elsewhere", message)
        return [wanted]
    mine = [each for each in known if each.paper in papers]
    return sorted(
        mine, key=lambda each: (each.paper.year, each.paper.cite, each.paper.title, each.name not in planned, each.name)
    )


def _is_of(study: Study, paper: str) -> bool:
    asked = paper.strip().lower()
    return bool(asked) and (study.name.startswith(asked) or asked in f"{study.paper.cite} {study.paper.title}".lower())


def _aligned(study: Study, place: int, claim: Claim, summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    results = [
        {name: summary["claims"][place][name] for name in RESULT} if summary["study"] == study.name else None
        for summary in summaries
    ]
    verdicts = [
        (result["verdict"], summary["data"] == claim.data)
        for result, summary in zip(results, summaries, strict=True)
        if result is not None
    ]
    return {
        "paper": study.paper.cite,
        "study": study.name,
        **{name: getattr(claim, name) for name in ("source", "quantity", "unit", "published", "tolerance")},
        "provenance": claim.provenance,
        "data": claim.data,
        "effect": claim.effect.statement if claim.effect else None,
        "verdict": overall(verdicts),
        "results": results,
    }


def _counted(claims: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many claims there are, and how many under each verdict that occurs."""
    found = Counter(claim["verdict"] for claim in claims)
    return {"claims": len(claims), "verdicts": {word: found[word] for word in ORDER if found[word]}}


def _setting(plan: Plan, study: Study) -> str:
    """What a plan was run on, and what the user asked for beyond that: ``mnist in place of cifar10, small scale``."""
    request = plan.request
    theirs = sorted({claim.data for claim in study.claims})
    stand_in = theirs and request.data.name not in theirs
    parts = [request.data.name + (f" in place of {' and '.join(theirs)}" if stand_in else ""), f"{request.scale} scale"]
    if request.models:
        parts.append(f"models {', '.join(request.models)}")
    if request.seeds is not None:
        parts.append(plural(request.seeds, "seed"))
    parts += [f"{name}={value}" for name, value in sorted(plan.overrides.items())]
    return ", ".join(parts)
