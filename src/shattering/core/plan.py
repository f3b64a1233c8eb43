"""A plan: the runs a study asks for, written beside their results so that a report knows what was meant to be there."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shattering.core.lattice import Lattice
from shattering.core.spec import RunSpec, parse_spec
from shattering.core.study import DataFacts, Request


@dataclass(frozen=True)
class Plan:
    """The runs of one request of one study, or of a sweep.

    Args:
        study: the study's name; of a sweep ``sweep-`` and its name.
        request: scale, data, seeds and models asked for.
        overrides: dotted fields that the user set, applied to every spec.
        specs: the resolved specs, without repetitions; of a sweep that decides as it goes, its first runs.
        command: what to type to continue.
        sweep: what a sweep's file says (see `core.sweep`); none for a study.
    """

    study: str
    request: Request
    specs: Sequence[RunSpec]
    overrides: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    sweep: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Folder name: study, data, scale, and a short hash where anything else was asked for."""
        plain = f"{self.study}-{self.request.data.name}-{self.request.scale}"
        asked: list[Any] = [self.overrides, self.request.seeds, self.request.models, self.request.device]
        if self.sweep is not None:
            plain, asked = f"{self.study}-{self.request.data.name}", [*asked, self.request.scale, self.sweep]
        elif asked == [{}, None, (), "cpu"]:
            return plain
        text = json.dumps(asked, sort_keys=True, default=str)
        return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @functools.cached_property
    def digests(self) -> list[str]:
        """The runs' names, in planned order."""
        return self.specs.digests if isinstance(self.specs, Lattice) else [spec.digest for spec in self.specs]

    def spread(self, count: int) -> Sequence[RunSpec]:
        """At most ``count`` of the specs, evenly spread over the plan: enough to see what kinds there are."""
        every = max(1, -(-len(self.specs) // count))
        return [self.specs[place] for place in range(0, len(self.specs), every)]

    def to_json(self) -> str:
        """Everything, readable."""
        tree: dict[str, Any] = {
            "study": self.study,
            "request": asdict(self.request),
            "overrides": self.overrides,
            "command": self.command,
        }
        if self.sweep is not None:
            tree["sweep"] = self.sweep
        if isinstance(self.specs, Lattice):
            tree["lattice"] = self.specs.to_tree()
        else:
            tree["specs"] = [spec.model_dump(mode="json", exclude_defaults=True) for spec in self.specs]
        return json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote."""
        tree = json.loads(text)
        request = dict(tree["request"])
        facts = dict(request.pop("data"))
        facts["input_shape"], facts["notes"] = tuple(facts["input_shape"]), tuple(facts["notes"])
        request["models"] = tuple(request["models"])
        lattice = tree.get("lattice")
        return cls(
            study=tree["study"],
            request=Request(data=DataFacts(**facts), **request),
            specs=tuple(map(parse_spec, tree["specs"])) if lattice is None else Lattice.from_tree(lattice),
            overrides=tree["overrides"],
            command=tree["command"],
            sweep=tree.get("sweep"),
        )
