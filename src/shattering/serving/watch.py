"""A store as the page sees it: read again when somebody asks, never written to, and no user's code imported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from shattering.core import io
from shattering.core.plan import Plan
from shattering.core.sweep_file import parse_sweep
from shattering.execution.adaptive import Decider
from shattering.report.settings import corruption_text, model_text
from shattering.report.summary import REPORT_FILE
from shattering.serving.curves import SHOWN, Choice, Curves, choices, thinned
from shattering.serving.findings import findings
from shattering.serving.kept import Kept
from shattering.serving.progress import Pace, Standing, standing
from shattering.serving.underway import Beats, halfway
from shattering.store.index import Mark
from shattering.store.store import Store

Tree = dict[str, Any]

MOST_TOLD = 12
"""Runs under way that are told of one by one."""

MOST_PROBLEMS = 20


class Watch:
    """What is to be shown of a store.

    Args:
        store: open for reading.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._gate = threading.Lock()
        self._beats = Beats(store.root)
        self._known: dict[str, Mark] = {}
        self._plans: list[Plan] = []
        self._seen: tuple[Any, ...] = ()
        self._standing: dict[str, Standing] = {}
        self._paces: dict[str, Pace] = {}
        self._choices: dict[str, tuple[Sequence[str], list[Choice]]] = {}
        self._curves: dict[tuple[str, int], Curves] = {}
        self._findings: dict[str, tuple[Any, Tree]] = {}
        self._answers: dict[tuple[str, ...], Kept[Tree]] = {}
        self._places = threading.Lock()

    def overview(self) -> Tree:
        """All plans, and how far each is: ``store``, ``reading`` (not read yet), ``plans``, ``problems``."""
        kept = self._kept(("overview",), self._overview)
        tree = kept.get()
        empty: Tree = {"store": str(self.store.root), "reading": not kept.problem, "plans": [], "problems": []}
        return _with_problem(tree or empty, kept.problem)

    def detail(self, key: str) -> Tree | None:
        """Everything but the curves of one plan; none where there is no such plan."""
        if not self._is_plan(key):
            return None
        self.overview()
        kept = self._kept(("detail", key), lambda: self._detail(key))
        tree = kept.get() or {"reading": not kept.problem, "problems": []}
        now = self._standing.get(key)
        return None if now is None else _with_problem({**tree, **now.to_tree()}, kept.problem)

    def curves(self, key: str, choice: str) -> Tree | None:
        """The curves of one plan, the lines told apart in the way with that number; none where there is none."""
        if not self._is_plan(key) or choice not in {str(number) for number in range(100)}:
            return None
        self.overview()
        kept = self._kept(("curves", key, choice), lambda: self._drawn(key, int(choice)))
        return _with_problem(kept.get() or {"reading": not kept.problem, "problems": []}, kept.problem)

    def report(self, key: str) -> bytes | None:
        """The written report of a plan; none where there is none, or it is not a plain file in its place."""
        if not self._is_plan(key):
            return None
        return self._report(self._standing[key].plan)

    def _is_plan(self, key: str) -> bool:
        if not self._standing:
            self.overview()
        return key in self._standing

    def _kept(self, key: tuple[str, ...], compute: Callable[[], Tree]) -> Kept[Tree]:
        with self._places:
            if key not in self._answers:
                self._answers[key] = Kept(compute, self._gate)
            return self._answers[key]

    # Under the gate

    def _look(self) -> None:
        self._known = self.store.catalogue()
        places = [self.store.root / "plans" / name for name in io.names(self.store.root / "plans")]
        seen = tuple((place.name, io.state_of(str(place), ("plan.json",))) for place in places)
        if seen != self._seen:
            self._plans, self._seen = self.store.plans(), seen
            self._paces = {plan.key: self._paces.get(plan.key, Pace()) for plan in self._plans}
        alive = self._beats.alive()
        found = [standing(plan, self._runs(plan), self._known, alive, self._paces[plan.key]) for plan in self._plans]
        self._standing = {each.key: each for each in found}

    def _runs(self, plan: Plan) -> Sequence[str]:
        if plan.sweep is not None and (sweep := parse_sweep(plan.sweep)).decides:
            return list(Decider(plan, sweep).decide(self.store).runs)
        return plan.digests

    def _overview(self) -> Tree:
        self._look()
        return {
            "store": str(self.store.root),
            "reading": False,
            "plans": [each.to_tree() for each in self._standing.values()],
            "problems": self.store.problems[:MOST_PROBLEMS],
        }

    def _detail(self, key: str) -> Tree:
        now = self._standing[key]
        return {
            "reading": False,
            "command": now.plan.command,
            "choices": [choice.title for choice in self._ways(now)],
            "underway": [self._under_way(now, run) for run in now.alive[:MOST_TOLD]],
            "report": self._report(now.plan, only_look=True) is not None,
            "problems": [],
            **self._found(now),
        }

    def _found(self, now: Standing) -> Tree:
        """The findings, made again only when a run has ended since."""
        state = tuple(now.counts.values()), len(now.digests)
        kept = self._findings.get(now.key)
        if kept is None or kept[0] != state:
            kept = self._findings[now.key] = state, findings(self.store, now.plan)
        return kept[1]

    def _under_way(self, now: Standing, run: str) -> Tree:
        told: Tree = {"run": run[:10], "what": "", "steps": None, "step": None, **{name: [] for name in SHOWN}}
        place = {digest: place for place, digest in enumerate(now.plan.digests)}.get(run)
        if place is not None:  # a sweep that decides as it goes makes specs that its plan does not list
            spec = now.plan.specs[place]
            told["what"] = f"{model_text(spec)}, {corruption_text(spec)}, seed {spec.seed}"
            told["steps"] = spec.training.max_steps
        half = halfway(self.store.root, run)
        if half is not None:
            told["step"] = half.step
            for name in SHOWN:
                points = [[row["step"], row[name]] for row in half.rows if name in row and "step" in row]
                told[name] = thinned([point for point in points if abs(point[1]) < float("inf")])
        return told

    def _ways(self, now: Standing) -> list[Choice]:
        digests, found = self._choices.get(now.key, ((), []))
        if digests != now.digests or not found:
            specs = now.plan.specs
            if list(now.digests) == list(now.plan.digests):
                found = choices(specs)
            else:
                found = [Choice("nothing: all runs together", ("all runs",), [0] * len(now.digests))]
            self._choices[now.key] = now.digests, found
        return found

    def _drawn(self, key: str, number: int) -> Tree:
        now = self._standing[key]
        ways = self._ways(now)
        choice = ways[min(number, len(ways) - 1)]
        curves = self._curves.get((key, number))
        if curves is None or curves.choice is not choice:
            curves = self._curves[key, number] = Curves(now.digests, choice)
        curves.take_up(self.store, self._known)
        return {"reading": False, "problems": [], **curves.to_tree(self._known)}

    def _report(self, plan: Plan, only_look: bool = False) -> bytes | None:
        folder = self.store.report_dir(plan)
        if only_look:
            return b"" if io.size(folder / REPORT_FILE) else None
        return io.read_plain(self.store.root, *folder.relative_to(self.store.root).parts, REPORT_FILE)


def _with_problem(tree: Tree, problem: str) -> Tree:
    return {**tree, "problems": [*tree["problems"], problem]} if problem else tree
