"""What an audit found, as text."""

from __future__ import annotations

from typing import Any

from shattering.core.words import plural
from shattering.report.audit import LEVELS
from shattering.report.terminal import new_table, printed
from shattering.report.words import interval, number, spent


def render_audit(found: dict[str, Any]) -> str:
    """One line a finding, the plan that led to it, and where the report lies."""
    from rich.text import Text

    data = found["data"]
    head = (
        f"{found['model']} on {data['name']}: {data['train']:,} training and {data['test']:,} "
        f"{'held-out' if data['held_out'] else 'test'} examples, {data['classes']} classes\n"
    )
    training = training_text(found["training"])
    notes = "\n".join([*(f"- {note}" for note in found["notes"]), training, counts_text(found)])
    tail = [f"report: {found['report']}"]
    if not found["complete"]:
        tail.insert(0, f"continue with: {found['command']}")
    return "\n".join([printed(Text(head), _findings(found), Text(notes)).rstrip("\n"), *tail, ""])


def render_plan(plan: list[dict[str, Any]]) -> str:
    """What each check will get and be able to tell, before anything is trained."""
    table = new_table()
    table.add_column("check", no_wrap=True)
    table.add_column("trainings", justify="right")
    table.add_column("will tell", ratio=1)
    for each in plan:
        told = each["tells"] if each["refused"] is None else f"not asked: {each['refused']}"
        table.add_row(each["check"], f"{each['runs']:,}" if each["refused"] is None else "–", told)
    return printed(table)


def training_text(training: dict[str, Any]) -> str:
    """How the model was trained, in one sentence."""
    told = (
        f"Trained by {training['optimizer']}, learning rate {training['learning_rate']:g}, batches of "
        f"{training['batch_size']}, until {100 * training['fit_accuracy']:g}% of the training labels are fitted or "
        f"{training['max_steps']:,} updates are made"
    )
    if training["train_accuracy"] is None:
        return f"{told}."
    return (
        f"{told}; on the data as they are that took {training['steps']:,}: training accuracy "
        f"{training['train_accuracy']:.1%}, test accuracy {training['test_accuracy']:.1%}."
    )


def counts_text(found: dict[str, Any]) -> str:
    """How many trainings ended how, and how long it took."""
    words = {
        "done": "fitted",
        "not_fitted": "not fitted",
        "diverged": "diverged",
        "failed": "failed",
        "cancelled": "not run",
    }
    runs = found["runs"]
    ended = ", ".join(f"{runs[name]:,} {word}" for name, word in words.items() if runs[name])
    total, now = sum(runs.values()), found["computed"]
    if not total:
        return f"No training was made, in {spent(found['seconds'])}."
    of_them = "none of them" if not now else "all of them" if now == total > 1 else f"{now:,} of them"
    of_them = of_them if total > 1 else "made" if now else "made before"
    return f"{plural(total, 'training')} ({ended}), {of_them} now, in {spent(found['seconds'])}."


def value_cells(finding: dict[str, Any]) -> tuple[str, str]:
    """The value and its interval; of a test, its p-value."""
    if finding["value"] is None:
        return "–", ""
    ends = interval(finding["low"], finding["high"], finding["unit"])
    p = "" if finding["p_value"] is None else f"p = {finding['p_value']:.2g}"
    return number(finding["value"], finding["unit"]), "; ".join(part for part in (ends, p) if part)


def _findings(found: dict[str, Any]) -> Any:
    table = new_table()
    table.add_column("", no_wrap=True)
    table.add_column("finding", ratio=1)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95% interval", justify="right", no_wrap=True)
    for finding in found["findings"]:
        value, ends = value_cells(finding)
        table.add_row(LEVELS[finding["level"]][1], finding["statement"], value, ends)
    return table
