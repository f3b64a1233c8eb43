"""An audit in Python's hands: its findings as objects, and its page."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.finding import Answer, Finding
from shattering.execution.audit import Audit
from shattering.report.audit import audit_findings
from shattering.report.audit_html import write_audit
from shattering.report.audit_terminal import render_audit


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What an audit found.

    Args:
        answers: one a check, with the evidence.
        told: the object that ``shattering audit --json`` prints.
        page: path of the report.
    """

    answers: tuple[Answer, ...]
    told: dict[str, Any]
    page: Path

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, in the order of the report."""
        return tuple(finding for answer in self.answers for finding in answer.findings)

    def __getitem__(self, name: str) -> Finding:
        """The finding called ``name``; raises `KeyError` with the names there are."""
        found = {finding.name: finding for finding in self.findings}
        if name not in found:
            raise KeyError(f"There is no finding {name!r}; there are {', '.join(found)}.")
        return found[name]

    def save(self, path: str | Path) -> Path:
        """Writes the page, which needs nothing beside it, to ``path``; raises `StoreError` where it cannot."""
        io.write_file(Path(path), self.page.read_bytes())
        return Path(path)

    def __str__(self) -> str:
        return render_audit(self.told)

    def _repr_html_(self) -> str:
        """What a notebook shows: the answers, and where the whole report lies."""
        lines = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.told["answer"])
        return f"<ul>{lines}</ul><p><code>{html.escape(str(self.page))}</code></p>"


def reported(audit: Audit) -> AuditReport:
    """Writes the page of an audit and gives it back with what it says."""
    told = audit_findings(audit)
    return AuditReport(audit.answers, told, write_audit(audit, told))
