"""A plan: the runs a study asks for, written beside their results so that a report knows what was meant to be there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from shattering.core.spec import RunSpec, parse_spec
from shattering.core.study import DataFacts, Request


@dataclass(frozen=True)
class Plan:
    """The runs of one request of one study.

    Args:
        study: the study's name.
        request: scale, data, seeds and models asked for.
        overrides: dotted fields that the user set, applied to every spec.
        specs: the resolved specs, without repetitions.
        command: what to type to continue.
    """

    study: str
    request: Request
    specs: tuple[RunSpec, ...]
    overrides: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def key(self) -> str:
        """Folder name: study, data, scale, and a short hash where anything else was asked for."""
        plain = f"{self.study}-{self.request.data.name}-{self.request.scale}"
        asked = [self.overrides, self.request.seeds, self.request.models, self.request.device]
        if asked == [{}, None, (), "cpu"]:
            return plain
        text = json.dumps(asked, sort_keys=True, default=str)
        return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def digests(self) -> list[str]:
        """The runs' names, in planned order."""
        return [spec.digest for spec in self.specs]

    def to_json(self) -> str:
        """Everything, readable."""
        tree = {
            "study": self.study,
            "request": asdict(self.request),
            "overrides": self.overrides,
            "command": self.command,
            "specs": [spec.model_dump(mode="json", exclude_defaults=True) for spec in self.specs],
        }
        return json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote."""
        tree = json.loads(text)
        request = dict(tree["request"])
        facts = dict(request.pop("data"))
        facts["input_shape"], facts["notes"] = tuple(facts["input_shape"]), tuple(facts["notes"])
        request["models"] = tuple(request["models"])
        return cls(
            study=tree["study"],
            request=Request(data=DataFacts(**facts), **request),
            specs=tuple(parse_spec(spec) for spec in tree["specs"]),
            overrides=tree["overrides"],
            command=tree["command"],
        )
