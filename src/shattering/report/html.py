"""The report of a plan: one page that needs no network, its figures and its summary beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import PROVENANCE
from shattering.report.charts import Chart, draw, runtime, to_png, to_svg
from shattering.report.evidence import Evidence, gather
from shattering.report.settings import corruption_text, model_text, selection_text, settings, start_text
from shattering.report.summary import REPORT_FILE, seeds_behind, summary_of
from shattering.report.words import STATUSES, VERDICTS, half_width, interval, number, published, seeds_text, spent
from shattering.simulations.registry import DRAWN, is_simulation
from shattering.store.store import Store

FEW_SEEDS = 5


@dataclass(frozen=True)
class Picture:
    """A chart with the still pictures that could be made of it.

    Args:
        chart: the chart.
        spec: its specification, safe inside a script element.
        svg: the still picture; empty where it could not be made.
        links: (words, path relative to the page) of the files beside the page.
        problem: why a file is missing; empty where none is.
    """

    chart: Chart
    spec: str
    svg: str
    links: tuple[tuple[str, str], ...]
    problem: str


def write_report(store: Store, plan: Plan, *, seconds: float = 0.0) -> Path:
    """Writes the report of a plan; the same store gives the same page, byte for byte.

    Beside the page lie ``figures/NAME.svg`` and ``.png``, and ``summary.json``, the object of ``--json``. A picture
    that cannot be made is left out, and the page says so.

    Args:
        store: where the records are; it must be open for writing.
        plan: what was asked for; it may be unfinished.
        seconds: wall time of the command, for ``summary.json`` alone.

    Returns:
        the path of the page.

    Raises:
        StoreError: it cannot be written.
        SpecError: ``unknown-study`` where the plan's study is not installed.
    """
    evidence = gather(store, plan)
    summary = summary_of(evidence, store, seconds)
    folder = store.report_dir(plan)
    charts = [draw(figure, evidence.records) for figure in evidence.study.figures] if evidence.has_outcomes else []
    pictures = [make_picture(chart, folder) for chart in charts if chart is not None]
    page = _page(evidence, summary, pictures, store.gallery(plan))
    io.write_file(folder / "summary.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    io.write_file(folder / REPORT_FILE, page.encode())
    return folder / REPORT_FILE


def make_picture(chart: Chart, folder: Path) -> Picture:
    """Writes a chart's SVG and PNG into ``folder / "figures"``; what cannot be made is told in ``problem``."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", chart.name)
    svg, png, problem = "", b"", ""
    try:
        svg, png = to_svg(chart), to_png(chart)
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        problem = f"The files of this figure could not be made: {error}"
    links = []
    for words, data in (("SVG", svg.encode()), ("PNG", png)):
        if data:
            path = f"figures/{name}.{words.lower()}"
            io.write_file(folder / path, data)
            links.append((words, path))
    return Picture(chart, _script_safe(chart.spec), svg, tuple(links), problem)


def render_page(template: str, pictures: list[Picture], *, own_scripts: tuple[str, ...] = (), **values: Any) -> str:
    """A self-contained page: the folder's style and scripts within, its charts, and a policy that lets nothing else in.

    Args:
        template: name of a template in this folder; it gets ``policy``, ``style``, ``scripts`` and ``pictures``.
        pictures: the charts; the scripts that draw them come along only where there are some.
        own_scripts: further scripts of this folder.
        values: what else the template asks for; escaped where it is text.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("shattering.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own = files("shattering.report")
    style = own.joinpath("report.css").read_text(encoding="utf-8")
    scripts = [runtime()] if pictures else []
    scripts += [
        own.joinpath(name).read_text(encoding="utf-8") for name in (*(["charts.js"] if pictures else []), *own_scripts)
    ]
    return environment.get_template(template).render(
        policy=content_policy(scripts, style),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        pictures=[(picture, Markup(picture.spec), Markup(picture.svg)) for picture in pictures],
        **values,
    )


def _page(evidence: Evidence, summary: dict[str, Any], pictures: list[Picture], gallery: list[dict[str, Any]]) -> str:
    plan, study = evidence.plan, evidence.study
    claims = [_claim(evidence, place) for place in range(len(evidence.judgements))]
    return render_page(
        "page.html",
        pictures,
        study=study,
        url=study.paper.url if study.paper.url.startswith(("https://", "http://")) else "",
        plan=plan,
        summary=summary,
        judged=[claim for claim in claims if claim["verdict"] != "not run"],
        absent=[claim for claim in claims if claim["verdict"] == "not run"],
        verdicts=[(word, VERDICTS[word]) for word in VERDICTS if word in {j.verdict for j in evidence.judgements}],
        gallery=[item for item in gallery if all(map(_is_picture, item["examples"]))],
        settings=settings(plan),
        simulated=bool(plan.specs) and all(is_simulation(spec.model.name) for spec in plan.specs),
        drawn=plan.request.data.name == DRAWN.name,
        statuses=_statuses(evidence),
        unfinished=bool(summary["runs"]["cancelled"] + summary["runs"]["failed"]),
        differences=study.differences(plan.request),
        caveats=_caveats(evidence),
        provenance=_provenance(evidence.records),
        spent=spent(sum(float(record.provenance.get("seconds", 0.0)) for record in evidence.records)),
        runs=_runs(evidence),
    )


def _claim(evidence: Evidence, place: int) -> dict[str, Any]:
    judgement = evidence.judgements[place]
    claim, estimate = judgement.claim, judgement.estimate
    tolerance = half_width(claim.tolerance, claim.unit) if claim.published is not None and claim.tolerance else ""
    return {
        "source": claim.source,
        "quantity": claim.quantity,
        "paper": published(claim.published, claim.unit),
        "tolerance": tolerance,
        "provenance": PROVENANCE[claim.provenance],
        "data": claim.data,
        "ours": number(estimate.value if estimate else None, claim.unit),
        "interval": interval(estimate.low, estimate.high, claim.unit) if estimate else "",
        "seeds": len(seeds_behind(evidence, judgement)),
        "verdict": judgement.verdict,
        "tone": VERDICTS[judgement.verdict][0],
        "effect": claim.effect.statement if claim.effect else "",
        "note": estimate.note if estimate else "",
        "runs": estimate.runs if estimate else (),
        "seed_list": seeds_text(seeds_behind(evidence, judgement)),
    }


def _statuses(evidence: Evidence) -> list[dict[str, Any]]:
    """Counts by status, with the reasons of those that went wrong and the runs they hold for."""
    rows = []
    for status, count in evidence.counts.items():
        reasons: dict[str, list[str]] = {}
        for record in evidence.records:
            if record.status.value == status and (reason := _reason(record)):
                reasons.setdefault(reason, []).append(record.digest)
        word, meaning = STATUSES[status]
        rows.append({"word": word, "meaning": meaning, "count": count, "reasons": list(reasons.items())})
    return rows


def _reason(record: Record) -> str:
    if record.error:
        return ": ".join(text for text in (record.error.get("identifier", ""), record.error.get("message", "")) if text)
    if record.status is Status.DIVERGED:
        step = record.summary.get("diverged_step", record.last.get("step"))
        return "not finite" if step is None else f"not finite from step {step:,} on"
    return ""


def _caveats(evidence: Evidence) -> list[str]:
    plan, study = evidence.plan, evidence.study
    caveats = []
    data = sorted({claim.data for claim in study.claims} - {plan.request.data.name})
    if data:
        caveats.append(
            f"The paper's numbers are for {', '.join(data)}; runs on {plan.request.data.name} are shown beside them, "
            "and only effects (direction, order, ratio) are judged."
        )
    if plan.request.scale != "paper":
        caveats.append(
            f"The scale is {plan.request.scale}: fewer examples or steps than published, so no number here counts as "
            "reproduced, whatever its value."
        )
    if plan.overrides:
        changed = ", ".join(f"{name}={value}" for name, value in sorted(plan.overrides.items()))
        caveats.append(f"Settings of your own are in force ({changed}); no number is compared under them.")
    seeds = len({spec.seed for spec in plan.specs})
    if seeds < FEW_SEEDS:
        caveats.append(
            f"{seeds} seed{' was' if seeds == 1 else 's were'} planned: intervals are wide, and below three runs there "
            "are none."
        )
    judged = sum(judgement.verdict != "not run" for judgement in evidence.judgements)
    if judged > 1:
        caveats.append(
            f"{judged} claims are judged, each on its own, without correction for their number: with 95% intervals "
            "about one in twenty would miss by chance."
        )
    caveats.append(
        "The same runs give the same bits on the same kind of machine with the same versions and threads; elsewhere "
        "the last digits may differ."
    )
    return caveats


def _provenance(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Distinct values by name; times, which differ from run to run, are left out."""
    values: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.provenance.items():
            if value and not isinstance(value, float) and name not in ("ended", "began", "peak_bytes"):
                values.setdefault(name, set()).add(str(value))
    peak = max((int(record.provenance.get("peak_bytes", 0)) for record in records), default=0)
    rows = [(name, ", ".join(sorted(found))) for name, found in sorted(values.items()) if len(found) <= 8]
    return [*rows, ("peak memory", f"{peak / 2**30:.2f} GiB")] if peak else rows


def _runs(evidence: Evidence) -> list[tuple[str, str, str, int, str]]:
    found = {record.digest: STATUSES[record.status.value][0] for record in evidence.records}
    return [
        (spec.digest, model_text(spec), _data_text(spec), spec.seed, found.get(spec.digest, "not run"))
        for spec in evidence.plan.specs
    ]


def _data_text(spec: RunSpec) -> str:
    """What a run was trained on: the corruption, and the selection and the start where there are any."""
    told = [corruption_text(spec)]
    told += [] if spec.selection is None else [selection_text(spec)]
    return "; ".join(told if spec.start is None else [*told, start_text(spec)])


def _is_picture(example: dict[str, Any]) -> bool:
    return all(re.fullmatch(r"[A-Za-z0-9+/=]+", str(example.get(name, ""))) for name in ("before", "after"))


def _script_safe(tree: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(tree, sort_keys=True, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def content_policy(scripts: list[str], style: str) -> str:
    """Content-Security-Policy: nothing from anywhere but the very scripts and style of this page, known by hash."""
    known = " ".join(map(_hash, scripts)) or "'none'"
    return (
        f"default-src 'none'; script-src {known}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
