"""Catches, during an ordinary forward and backward, what the gradients of single examples are made of.

Every call of a torch function passes by while a `Capture` is entered. One that has a rule and weights among its
arguments is replaced by a node of the autograd graph that computes the same output and, in the backward, the gradient
of its input only; the sum of the examples' weight gradients comes from the rule, together with their norms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from shattering.core.errors import ModelError, ShatteringError
from shattering.gradients.joint import Contribution, Joint
from shattering.gradients.marks import DECIDING, is_marked, mark_all, regroups, tensors_in
from shattering.gradients.rules.registry import Use, outer_norms, rule_of, safe_norms, spreading, squared_rows
from shattering.gradients.slots import Slot, disjoint, slot_of_view

FIRST, SECOND, INTERLEAVED = 0, 1, 2
"""Layouts: examples in the first dimension, several rows of one side by side; in the second; or interleaved."""

HELD = 2**20
"""Entries that may be kept until the end of a backward, where norms of many layers take few calls."""


class NotApart(Exception):
    """This forward does not keep examples apart, or not in a way that can be followed."""


class Capture(TorchFunctionMode):
    """One forward and backward over a chunk of examples.

    Args:
        parameters: the parameters to follow.
        totals: for each, a tensor laid out like it to which Σgᵢ is added; or written first, where it is `fresh`.
        examples: rows of the chunk.
        layouts: per parameter, where the examples are in what its functions get, if not first.
        scratch: bytes that gradients of single examples may take at a time.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        examples: int,
        layouts: Mapping[str, int] | None = None,
        scratch: int = 2**26,
    ) -> None:
        super().__init__()
        self.parameters, self.totals, self.examples = parameters, totals, examples
        self.layouts = layouts or {}
        self.scratch = scratch
        self.fresh: set[str] = set()
        """Whose totals hold anything, and are to be written before anything is added; none once it is finished."""
        self.squared: dict[str, Tensor] = {}
        self.unruled: dict[str, str] = {}
        self.decides = False
        """Whether values of examples reached Python."""
        self.regrouped = False
        """Whether rows were chosen by their values, so that from there on it cannot be told whose they are."""
        self.signature: list[tuple[Any, ...]] = []
        self._slots: dict[int, Slot] = {}
        self._uses: list[_Measured] = []
        self._joint_of: dict[str, Joint] = {}
        self._outer: list[tuple[_Measured, Tensor, Tensor, Sequence[Tensor | None]]] = []
        self._held = 0
        self._backward = False
        for name, parameter in parameters.items():
            slot = slot_of_view(parameter, parameter, name)
            self._slots[id(parameter)] = slot or Slot(parameter, (name,), True, False)
        first = next(iter(parameters.values()))
        self.anchor = torch.zeros((), device=first.device, requires_grad=True)

    # What rules call.

    def is_tracked(self, tensor: object) -> bool:
        """Whether ``tensor`` is a followed parameter, or stems from such alone."""
        return id(tensor) in self._slots

    def view(self, tensor: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """``change(tensor)``, followed if ``tensor`` is."""
        changed = change(tensor)
        if self.is_tracked(tensor):
            self._derive(changed, [tensor])
        return changed

    def measure(self, use: Use, *inputs: Tensor) -> Any:
        """The output of ``use``, measured when its gradient comes back; NotImplemented if the shapes do not fit."""
        if torch.is_autocast_enabled(inputs[0].device.type):
            raise ModelError(
                "gradients-autocast",
                "The model computes inside torch.autocast, whose rounding drowns coherence near zero; switch that off.",
            )
        slots = [None if p is None else self._slots.get(id(p)) for p in use.parameters]
        layout = self._layout(use, inputs, slots)
        if layout is None:
            return NotImplemented
        node = _Measured(use, slots, layout, self.examples)
        self._uses.append(node)
        self.signature.append((type(use).__name__, layout, *(slot.roots for slot in slots if slot)))
        return _apply(self.anchor, node, self, *inputs)

    def copies(self, tensor: Tensor, dimensions: int) -> Tensor | None:
        """The parameter once for each example, to be broadcast against a tensor with so many dimensions."""
        if not self.is_tracked(tensor):
            return tensor
        slot = self._slots[id(tensor)]
        shape = [1] * (dimensions - tensor.dim()) + list(tensor.shape)
        place = 1 if self.layouts.get(slot.roots[0], FIRST) == SECOND else 0
        if len(shape) <= place or shape[place] != 1:
            return None
        shape[place] = self.examples
        node = _Measured(_Copies(tensor, tuple(shape)), [slot], place, self.examples)
        self._uses.append(node)
        self.signature.append(("copies", place, slot.roots))
        copies: Tensor = _apply(self.anchor, node, self)
        return copies

    # The forward.

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in((args, kwargs) if kwargs else args)
        tracked = [x for x in tensors if id(x) in self._slots]
        if not tracked or not torch.is_grad_enabled():
            output = function(*args, **kwargs)
            if any(is_marked(x) for x in tensors):
                self.decides |= function in DECIDING
                self.regrouped |= regroups(function, args)
                mark_all(output)
            return output
        # What requires a gradient and is not followed comes from a measured output by a way that went unseen.
        varies = any(is_marked(x) or (x.requires_grad and id(x) not in self._slots) for x in tensors)
        if varies or spreading(function):
            output = self._ruled(function, args, kwargs)
            if output is not NotImplemented:
                mark_all(output)
                return output
        output = function(*args, **kwargs)
        if varies:
            mark_all(output)
        for tensor in tensors_in(output):
            if not tensor.requires_grad or id(tensor) in self._slots:
                continue
            if varies:
                for x in tracked:
                    for root in self._slots[id(x)].roots:
                        self.unruled.setdefault(root, getattr(function, "__name__", str(function)))
            else:
                self._derive(tensor, tracked)
        return output

    def _ruled(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rule = rule_of(function)
        if rule is None or self.regrouped:
            return NotImplemented
        try:
            return rule(self, *args, **kwargs)
        except ShatteringError:
            raise
        except Exception:
            # Either the call is wrong, then the function itself says so, or the rule is, then slower ways are not.
            return NotImplemented

    def _derive(self, tensor: Tensor, sources: list[Tensor]) -> None:
        roots = tuple(dict.fromkeys(root for x in sources for root in self._slots[id(x)].roots))
        if len(roots) == 1 and tensor._base is self.parameters[roots[0]]:
            slot = slot_of_view(tensor, self.parameters[roots[0]], roots[0])
            if slot is not None:
                self._slots[id(tensor)] = slot
                return
        self._slots[id(tensor)] = Slot(tensor, roots, False, False)

    def _layout(self, use: Use, inputs: Sequence[Tensor], slots: Sequence[Slot | None]) -> int | None:
        chosen = max((self.layouts.get(slot.roots[0], FIRST) for slot in slots if slot), default=FIRST)
        x = inputs[0]
        if chosen == SECOND:
            return SECOND if use.merged and x.dim() > 1 and x.shape[1] == self.examples else None
        if x.shape[0] == self.examples:
            return FIRST if chosen == FIRST else None
        if not use.merged or x.shape[0] == 0:
            return None
        if x.shape[0] % self.examples == 0:
            return INTERLEAVED if chosen == INTERLEAVED else FIRST
        return SECOND if chosen == FIRST and x.dim() > 1 and x.shape[1] == self.examples else None

    # The backward.

    def plan(self) -> None:
        """To be called between forward and backward: decides which gradients must be added before their norm is taken.

        A parameter that is used once, or in parts without overlap, is done with as each gradient comes back; the others
        wait until all have come.
        """
        uses: dict[str, list[Slot]] = {}
        for node in self._uses:
            for slot in node.slots:
                for root in slot.roots if slot else ():
                    uses.setdefault(root, []).append(slot)  # type: ignore[arg-type]
        groups: dict[str, set[str]] = {}
        for name, slots in uses.items():
            if (len(slots) == 1 and slots[0].view) or disjoint(slots):
                continue
            together = {root for slot in slots for root in slot.roots} | {name}
            for root in list(together):
                together |= groups.get(root, set())
            for root in together:
                groups[root] = together
        joints: dict[int, Joint] = {}
        for name, together in groups.items():
            joint = joints.setdefault(id(together), Joint(sorted(together)))
            self._joint_of[name] = joint
        for node in self._uses:
            for joint in {id(j): j for j in self._joints(node)}.values():
                joint.expected += 1
        self._backward = True

    def _joints(self, node: _Measured) -> list[Joint]:
        return [self._joint_of[s.roots[0]] for s in node.slots if s is not None and s.roots[0] in self._joint_of]

    def arrived(self, node: _Measured, inputs: Sequence[Tensor], delta: Tensor) -> None:
        """Takes the gradient of a measured output."""
        inputs, delta = [node.arranged(x) for x in inputs], node.arranged(delta)
        slots: Sequence[Slot | None] = node.slots
        if self._joint_of:
            slots = [slot if slot is not None and slot.roots[0] not in self._joint_of else None for slot in slots]
        direct = [slot for slot in slots if slot is not None]
        if direct:
            fresh = all(slot.whole and slot.roots[0] in self.fresh for slot in direct)
            if fresh:
                self.fresh.difference_update(slot.roots[0] for slot in direct)
            else:
                self._begin(slot.roots[0] for slot in direct)
            totals = [None if slot is None else slot.within(self.totals[slot.roots[0]]) for slot in slots]
            held = self._held + delta.numel() + inputs[0].numel() if inputs else HELD + 1
            here = delta.device == self.anchor.device
            if here and held <= HELD and node.use.add_outer(inputs, delta, totals, fresh):
                self._held = held
                self._outer.append((node, inputs[0], delta, totals))
            else:
                self._note(node, safe_norms(node.use, inputs, delta, totals, fresh))
        if not self._joint_of:
            return
        for joint in {id(j): j for j in self._joints(node)}.values():
            joint.contributions.append(Contribution(node.use, node.slots, list(inputs), delta))
            if len(joint.contributions) == joint.expected:
                self._finish(joint)

    def finish(self) -> None:
        """To be called after the backward: adds up what waited for a use that the loss turned out not to need."""
        for joint in {id(j): j for j in self._joint_of.values()}.values():
            if joint.contributions:
                self._finish(joint)
        if self._outer:
            uses = [(node.use, a, delta, totals) for node, a, delta, totals in self._outer]
            with torch.no_grad():
                found = outer_norms(uses)
            for (node, *_), norms in zip(self._outer, found, strict=True):
                self._note(node, norms)
            self._outer.clear()
        self._begin(list(self.fresh))
        self._slots.clear()
        self._uses.clear()

    def _begin(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.fresh:
                self.fresh.remove(name)
                self.totals[name].zero_()

    def _finish(self, joint: Joint) -> None:
        self._begin(joint.names)
        for name, norms in joint.add_up(self.parameters, self.totals, self.examples, self.scratch).items():
            self._add_norms(name, norms)

    def _note(self, node: _Measured, norms: Sequence[Tensor | None]) -> None:
        for slot, norm in zip(node.slots, norms, strict=True):
            if slot is not None and norm is not None:
                self._add_norms(slot.roots[0], norm)

    def _add_norms(self, name: str, norms: Tensor) -> None:
        norms = norms.double()
        self.squared[name] = self.squared[name] + norms if name in self.squared else norms


class _Measured:
    """A use on its way from forward to backward."""

    def __init__(self, use: Use, slots: Sequence[Slot | None], layout: int, examples: int) -> None:
        self.use, self.slots, self.layout, self.examples = use, list(slots), layout, examples

    def arranged(self, x: Tensor) -> Tensor:
        """One row per example."""
        if self.layout == SECOND:
            return x.transpose(0, 1)
        if x.shape[0] == self.examples:
            return x
        if self.layout == INTERLEAVED:
            return x.reshape(-1, self.examples, *x.shape[1:]).transpose(0, 1)
        return x.reshape(self.examples, -1, *x.shape[1:])


class _Node(torch.autograd.Function):
    """The function itself forward; the gradient of its inputs, and the rule, backward."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, node: _Measured, capture: Capture, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.node, ctx.capture = node, capture
        return node.use.forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> Any:
        (delta,) = deltas
        node, capture, inputs = ctx.node, ctx.capture, ctx.saved_tensors
        if not capture._backward or torch.is_grad_enabled():
            raise NotApart("the forward takes gradients itself")
        ctx.node = ctx.capture = None
        needed = ctx.needs_input_grad[3:]
        gradients: Sequence[Tensor | None] = [None] * len(inputs)
        if any(needed):
            gradients = node.use.data_gradients(inputs, delta, needed)
        capture.arrived(node, inputs, delta)
        return (None, None, None, *gradients)


_apply: Callable[..., Any] = _Node.apply


class _Copies(Use):
    """A parameter once per example; what comes back are the gradients of single examples themselves."""

    def __init__(self, parameter: Tensor, shape: tuple[int, ...]) -> None:
        self.parameters = (parameter,)
        self.shape = shape

    def forward(self, *inputs: Tensor) -> Tensor:
        (parameter,) = self.parameters
        assert parameter is not None
        return parameter.detach().expand(self.shape)

    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        (parameter,) = self.parameters
        assert parameter is not None
        return [delta.reshape(len(delta), *parameter.shape)]

    def accumulate(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        (total,) = totals
        assert total is not None
        total += delta.sum(0).reshape(total.shape)
        return [squared_rows(delta)]
