"""Small networks that are awkward to differentiate one example at a time; each with its examples and its loss."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from shattering.models.alexnet import alexnet
from shattering.models.inception import inception
from shattering.models.mlp import mlp_1x512
from shattering.models.resnet import resnet18

N = 5
"""Examples of a case unless it says otherwise: not divisible by 2, 3 or 4."""

CLASSES = 3


@dataclass(frozen=True, eq=False)
class Awkward:
    """A network, examples and a loss.

    Args:
        model: as the user made it, in training mode.
        batch: every example: a pair (inputs, targets), or a dict.
        loss: as contracts with the network: of (outputs, targets), or of (model, batch).
        apart: whether an example's outputs in a batch are those it has alone.
    """

    model: nn.Module
    batch: Any
    loss: Callable[..., Tensor]
    apart: bool = True


zoo: dict[str, Callable[[], Awkward]] = {}


def awkward(build: Callable[[], Awkward]) -> Callable[[], Awkward]:
    zoo[build.__name__] = build
    return build


def build(name: str, dtype: torch.dtype = torch.float64) -> Awkward:
    """The case of that name, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode()))
        case = zoo[name]()
        _unsettle(case.model)
    return Awkward(case.model.to(dtype), _cast(case.batch, dtype), case.loss, case.apart)


def _unsettle(model: nn.Module) -> None:
    """Moves every parameter and statistic off its initial value, where zeros and ones hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {key: _cast(entry, dtype) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_cast(entry, dtype) for entry in value)
    return value.to(dtype) if value.is_floating_point() else value


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One number per example, whatever the shape of its outputs."""
    return F.cross_entropy(outputs.flatten(1), targets, reduction="none")


def labels(n: int = N) -> Tensor:
    return torch.randint(CLASSES, (n,))


def of_layers(layers: nn.Module, *shape: int, n: int = N) -> Awkward:
    """Normal inputs of a shape; the outputs, flattened, are the logits."""
    return Awkward(layers, (torch.randn(n, *shape), labels(n)), cross_entropy)


def of_tokens(model: nn.Module, length: int = 4, vocabulary: int = 6, n: int = N) -> Awkward:
    return Awkward(model, (torch.randint(vocabulary, (n, length)), labels(n)), cross_entropy)


class Lambda(nn.Module):
    """Calls a function of itself and the inputs; submodules and parameters come by keyword."""

    def __init__(self, function: Callable[..., Any], **members: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.5 * torch.randn(shape))


# Layers that have closed forms, in every setting.

_LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), (4,)),
    "mlp_without_bias": (
        lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False)),
        (4,),
    ),
    "linear_over_three_axes": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (2, 3, 3)),
    "linear_over_many_positions": (lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3)), (17, 2)),
    "inplace_activation": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3), nn.ELU(inplace=True)),
        (4,),
    ),
    "conv2d_stride_padding": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 6, 7)),
    "conv2d_rectangular": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 3), padding=(0, 2), dilation=(1, 2)), (2, 7, 8)),
    "conv2d_dilation": (lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=1, bias=False), (2, 6, 6)),
    "conv2d_groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 4, 4)),
    "conv2d_depthwise": (lambda: nn.Conv2d(3, 6, 3, groups=3, stride=2), (3, 6, 6)),
    "conv2d_unseen_border": (lambda: nn.Conv2d(2, 2, 2, stride=3), (2, 7, 7)),
    "conv2d_whole_image": (lambda: nn.Conv2d(2, 4, (4, 3)), (2, 4, 3)),
    "conv2d_pointwise": (lambda: nn.Conv2d(3, 4, 1, stride=2), (3, 5, 5)),
    "conv2d_padding_over_kernel": (lambda: nn.Conv2d(2, 2, 2, padding=3), (2, 3, 3)),
    "conv2d_same": (lambda: nn.Conv2d(2, 3, (3, 5), padding="same", dilation=(2, 1)), (2, 5, 6)),
    "conv2d_valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 4, 5)),
    "conv2d_circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 5)),
    "conv2d_reflect": (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), (2, 4, 5)),
    "conv2d_replicate": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (2, 4, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 4, (2, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1), groups=2), (2, 3, 4, 3)),
    "conv_transpose1d": (
        lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
        (4, 5),
    ),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2, dilation=(1, 2)
        ),
        (4, 3, 3),
    ),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, stride=2, output_padding=1, bias=False), (2, 2, 2, 2)),
    "conv_stack": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 3, 2),
            nn.Flatten(),
            nn.Linear(12, 3),
        ),
        (2, 6, 6),
    ),
    "layer_norm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)), (3, 4)),
    "layer_norm_two_axes": (lambda: nn.Sequential(nn.LayerNorm((3, 4), bias=False), nn.Linear(4, 2)), (2, 3, 4)),
    "rms_norm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.Linear(6, 3)), (2, 4)),
    "group_norm": (lambda: nn.Sequential(nn.Conv2d(2, 4, 2), nn.GroupNorm(2, 4), nn.Tanh()), (2, 4, 4)),
    "group_norm_flat": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)), (3,)),
    "instance_norm": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.InstanceNorm2d(3, affine=True)), (2, 4, 4)),
    "batch_norm_1d": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)), (4,)),
    "batch_norm_2d": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), (2, 5, 5)),
    "prelu": (lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 3)), (4,)),
    "prelu_per_channel": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.PReLU(3)), (2, 4, 4)),
    "dropout_off": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)), (4,)),
    "weight_norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3)),
        (4,),
    ),
    "spectral_norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(2, 3, 2)), nn.Tanh()), (2, 3, 3)),
    "local_response_norm": (lambda: nn.Sequential(nn.Conv2d(2, 4, 2), nn.LocalResponseNorm(3)), (2, 3, 3)),
    "our_mlp": (lambda: mlp_1x512((1, 3, 3), 4, width=6, dropout=0.2), (1, 3, 3)),
    "our_alexnet": (lambda: alexnet((1, 6, 6), 4), (1, 6, 6)),
    "our_inception": (lambda: inception((1, 5, 5), 4, batch_norm=False), (1, 5, 5)),
    "our_resnet": (lambda: resnet18((1, 8, 8), 4, width=2), (1, 8, 8)),
}


def _of_table(layers: Callable[[], nn.Module], shape: tuple[int, ...]) -> Awkward:
    return of_layers(layers(), *shape)


for _name, (_layers, _shape) in _LAYERS.items():
    zoo[_name] = partial(_of_table, _layers, _shape)


# One parameter in several places.


@awkward
def linear_called_twice() -> Awkward:
    model = Lambda(lambda self, x: self.layer(torch.tanh(self.layer(x))), layer=nn.Linear(4, 4))
    return of_layers(model, 4)


@awkward
def conv_called_on_two_sizes() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        wide, narrow = torch.tanh(self.conv(x)), self.conv(F.avg_pool2d(x, 2))
        return torch.cat([wide.mean((2, 3)), narrow.mean((2, 3))], dim=1)

    return of_layers(Lambda(forward, conv=nn.Conv2d(2, 3, 3, padding=1)), 2, 6, 6)


@awkward
def embedding_tied_to_output() -> Awkward:
    model = Lambda(lambda self, x: self.output(torch.tanh(self.table(x)).mean(1)), table=nn.Embedding(6, 4))
    model.output = nn.Linear(4, 6)
    model.output.weight = model.table.weight
    return of_tokens(model)


@awkward
def autoencoder_tied_by_transpose() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.t(), self.shift)

    return of_layers(Lambda(forward, encoder=nn.Linear(5, 3), shift=parameter(5)), 5)


@awkward
def one_weight_in_two_modules() -> Awkward:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    return of_layers(model, 4)


@awkward
def weight_also_penalised_by_its_use() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return self.layer(x) * self.layer.weight.square().mean()

    return of_layers(Lambda(forward, layer=nn.Linear(4, 3)), 4)


# Weights used otherwise than by calling the module that holds them.


@awkward
def slices_of_a_weight() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return F.linear(torch.tanh(F.linear(x, self.weight[:4])), self.weight[4:])

    return of_layers(Lambda(forward, weight=parameter(7, 4)), 4)


@awkward
def einsum_with_a_parameter() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return torch.einsum("ntd,tde,e->ne", x, self.kernel, self.scale)

    return of_layers(Lambda(forward, kernel=parameter(3, 4, 3), scale=parameter(3)), 3, 4)


@awkward
def parameter_arithmetic() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return (x * self.gain.exp() + self.layer(x)) / (1 + self.temperature.square())

    return of_layers(Lambda(forward, gain=parameter(4), temperature=parameter(), layer=nn.Linear(4, 4)), 4)


@awkward
def linear_with_its_own_forward() -> Awkward:
    class Cosine(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=-1), self.bias)

    return of_layers(nn.Sequential(nn.Linear(4, 5), Cosine(5, 3)), 4)


@awkward
def linear_with_forward_hooks() -> Awkward:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    model[0].register_forward_hook(lambda module, given, output: output * module.bias)
    model[2].register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return of_layers(model, 4)


@awkward
def custom_autograd_function() -> Awkward:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
            ctx.save_for_backward(x, scale)
            return x**3 * scale

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
            x, scale = ctx.saved_tensors
            return grads[0] * 3 * x**2 * scale, (grads[0] * x**3).sum(0)

    cube: Callable[..., Tensor] = Cube.apply
    model = Lambda(lambda self, x: cube(self.layer(x), self.scale), layer=nn.Linear(4, 3), scale=parameter(3))
    return of_layers(model, 4)


@awkward
def keyword_arguments() -> Awkward:
    model = Lambda(lambda self, x: self.output(input=torch.tanh(self.layer(input=x))), layer=nn.Linear(4, 5))
    model.output = nn.Linear(5, 3)
    return of_layers(model, 4)


@awkward
def checkpointed() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return self.output(checkpoint(lambda y: torch.tanh(self.layer(y)), x, use_reentrant=False))

    return of_layers(Lambda(forward, layer=nn.Linear(4, 5), output=nn.Linear(5, 3)), 4)


@awkward
def bilinear() -> Awkward:
    model = Lambda(lambda self, x: self.form(x[:, :3], torch.tanh(x[:, 3:])), form=nn.Bilinear(3, 4, 3))
    return of_layers(model, 7)


@awkward
def weight_norm_by_hand() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return F.conv1d(x, self.direction * self.length / self.direction.norm(dim=(1, 2), keepdim=True))

    return of_layers(Lambda(forward, direction=parameter(3, 2, 2), length=parameter(3, 1, 1)), 2, 5)


@awkward
def fourier_filter() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return torch.fft.irfft(torch.fft.rfft(self.layer(x)) * self.filter, n=6)

    return of_layers(Lambda(forward, layer=nn.Linear(4, 6), filter=parameter(4)), 4)


@awkward
def forces_from_energy() -> Awkward:
    """The output is a derivative by the inputs, so that the gradient is one of second order."""

    def forward(self: Any, x: Tensor) -> Any:
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            energy = self.output(torch.tanh(self.layer(place))).sum()
            return torch.autograd.grad(energy, place, create_graph=True)[0]

    return of_layers(Lambda(forward, layer=nn.Linear(4, 5), output=nn.Linear(5, 1)), 4)


# Parameters that get no gradient, or none from some examples.


@awkward
def frozen_layer() -> Awkward:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
    model[2].requires_grad_(False)
    model[4].bias.requires_grad_(False)
    return of_layers(model, 4)


@awkward
def unused_parameter() -> Awkward:
    model = Lambda(lambda self, x: self.layer(x), layer=nn.Linear(4, 3), never=parameter(2, 2), unused=nn.Linear(2, 2))
    return of_layers(model, 4)


@awkward
def detached_branch() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        with torch.no_grad():
            target = self.layer(x + 1)
        return self.layer(x) - target + self.side(x).detach()

    return of_layers(Lambda(forward, layer=nn.Linear(4, 3), side=nn.Linear(4, 3)), 4)


@awkward
def expert_chosen_by_the_example() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        chosen = x[:, :1] > 0
        return torch.where(chosen, self.left(x), torch.tanh(self.right(x)))

    return of_layers(Lambda(forward, left=nn.Linear(4, 3), right=nn.Linear(4, 3)), 4)


@awkward
def rows_sent_to_experts() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        chosen = x[:, 0] > 0
        out = x.new_zeros(len(x), 3)
        out[chosen] = self.left(x[chosen])
        out[~chosen] = torch.tanh(self.right(x[~chosen]))
        return out

    return of_layers(Lambda(forward, left=nn.Linear(4, 3), right=nn.Linear(4, 3)), 4)


@awkward
def control_flow_on_the_data() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        hidden = self.layer(x)
        return torch.tanh(hidden) if x.sum() > 0 else hidden * 2

    case = of_layers(Lambda(forward, layer=nn.Linear(4, 3)), 4)
    return Awkward(case.model, case.batch, case.loss, apart=False)


@awkward
def centred_over_the_batch() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        hidden = self.layer(x)
        return self.output(hidden - 0.5 * hidden.mean(0))

    case = of_layers(Lambda(forward, layer=nn.Linear(4, 5), output=nn.Linear(5, 3)), 4)
    return Awkward(case.model, case.batch, case.loss, apart=False)


# Tokens and sequences.


class Tagger(nn.Module):
    """Embeds tokens, mixes them, averages over positions."""

    def __init__(self, mixer: nn.Module, features: int = 4, take: Callable[[Any], Tensor] = lambda out: out) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.mixer = mixer
        self.output = nn.Linear(features, 3)
        self.take = take

    def forward(self, tokens: Tensor) -> Any:
        return self.output(self.take(self.mixer(self.table(tokens))).mean(1))


@awkward
def embedding_padding_and_repeats() -> Awkward:
    model = nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3))
    tokens = torch.tensor([[1, 1, 1, 0, 2, 0], [0, 0, 0, 0, 0, 0], [4, 2, 4, 2, 4, 2], [3, 0, 3, 1, 2, 4], [1] * 6])
    return Awkward(model, (tokens, labels()), cross_entropy)


@awkward
def embedding_of_one_token() -> Awkward:
    model = nn.Sequential(nn.Embedding(4, 3), nn.Tanh(), nn.Linear(3, 3))
    return Awkward(model, (torch.tensor([3, 0, 3, 3, 1]), labels()), cross_entropy)


@awkward
def embedding_scaled_by_frequency() -> Awkward:
    return of_tokens(nn.Sequential(nn.Embedding(3, 4, scale_grad_by_freq=True), nn.Flatten()), vocabulary=3)


@awkward
def embedding_sparse() -> Awkward:
    return of_tokens(nn.Sequential(nn.Embedding(6, 4, sparse=True), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)))


@awkward
def embedding_bag_mean() -> Awkward:
    return of_tokens(nn.Sequential(nn.EmbeddingBag(6, 4, mode="mean"), nn.Tanh(), nn.Linear(4, 3)))


@awkward
def embedding_bag_sum_padded() -> Awkward:
    return of_tokens(nn.Sequential(nn.EmbeddingBag(6, 4, mode="sum", padding_idx=1), nn.Tanh(), nn.Linear(4, 3)))


@awkward
def embedding_bag_max() -> Awkward:
    return of_tokens(nn.Sequential(nn.EmbeddingBag(6, 4, mode="max"), nn.Linear(4, 3)))


@awkward
def learned_positions() -> Awkward:
    def forward(self: Any, tokens: Tensor) -> Any:
        return self.output(torch.tanh(self.table(tokens) + self.positions[: tokens.shape[1]]).mean(1))

    model = Lambda(forward, table=nn.Embedding(6, 4), positions=parameter(7, 4), output=nn.Linear(4, 3))
    return of_tokens(model)


@awkward
def position_table_as_long_as_the_batch() -> Awkward:
    def forward(self: Any, tokens: Tensor) -> Any:
        where = torch.arange(tokens.shape[1])
        return self.output(torch.tanh(self.table(tokens) + self.positions(where)).mean(1))

    model = Lambda(forward, table=nn.Embedding(6, 4), positions=nn.Embedding(N, 4), output=nn.Linear(4, 3))
    return of_tokens(model, length=N)


@awkward
def layer_on_a_parameter_as_long_as_the_batch() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return torch.tanh(self.first(x)) @ self.second(self.codes).t()

    return of_layers(Lambda(forward, first=nn.Linear(4, 3), second=nn.Linear(2, 3), codes=parameter(N, 2)), 4)


@awkward
def examples_times_positions() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        flat = torch.tanh(self.layer(x.reshape(-1, x.shape[-1])))
        return self.output(flat).reshape(len(x), -1)

    return of_layers(Lambda(forward, layer=nn.Linear(4, 3), output=nn.Linear(3, 2)), 3, 4)


@awkward
def positions_times_examples() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        n, length, features = x.shape
        flat = torch.tanh(self.layer(x.transpose(0, 1).reshape(length * n, features)))
        return self.output(flat).reshape(length, n, -1).transpose(0, 1)

    return of_layers(Lambda(forward, layer=nn.Linear(4, 3), output=nn.Linear(3, 2)), 3, 4)


@awkward
def positions_times_as_many_examples() -> Awkward:
    case = positions_times_examples()
    return of_layers(case.model, N, 4)


@awkward
def features_before_examples() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        return (self.weight @ torch.tanh(self.layer(x)).t()).t()

    return of_layers(Lambda(forward, layer=nn.Linear(4, 3), weight=parameter(3, 3)), 4)


@awkward
def patches_as_examples() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        n = len(x)
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).movedim(1, 3).reshape(n * 4, -1, 2, 2)
        return self.conv(patches).reshape(n, 4, -1).amax(1)

    return of_layers(Lambda(forward, conv=nn.Conv2d(2, 3, 2)), 2, 4, 4)


@awkward
def residual_with_layer_scale() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        hidden = x + self.scale1 * torch.tanh(self.layer1(x))
        return hidden + self.scale2 * self.layer2(hidden)

    model = Lambda(forward, layer1=nn.Linear(4, 4), layer2=nn.Linear(4, 4), scale1=parameter(4), scale2=parameter(1))
    return of_layers(model, 4)


@awkward
def self_attention() -> Awkward:
    mixer = nn.MultiheadAttention(4, 2, batch_first=True)
    return of_tokens(Tagger(Lambda(lambda self, x: self.attention(x, x, x)[0], attention=mixer)))


@awkward
def self_attention_sequence_first() -> Awkward:
    def mix(self: Any, x: Tensor) -> Any:
        x = x.transpose(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)

    return of_tokens(Tagger(Lambda(mix, attention=nn.MultiheadAttention(4, 2, bias=False))))


@awkward
def cross_attention() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        query, memory = x[:, :2, :4], x[:, 2:, :]
        return self.attention(query, memory, memory[..., :3])[0].mean(1)

    attention = nn.MultiheadAttention(4, 2, kdim=6, vdim=3, add_bias_kv=True, batch_first=True)
    return of_layers(Lambda(forward, attention=attention), 5, 6)


@awkward
def cross_attention_chunks() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        query = F.linear(x[:, :2], self.packed[:4])
        key, value = F.linear(x[:, 2:], self.packed[4:]).chunk(2, dim=-1)
        return F.scaled_dot_product_attention(query, key, value).mean(1)

    return of_layers(Lambda(forward, packed=parameter(12, 4)), 5, 4)


@awkward
def transformer_encoder_layer() -> Awkward:
    return of_tokens(Tagger(nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)))


@awkward
def transformer_sequence_first() -> Awkward:
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.1, norm_first=True)
    return of_tokens(Tagger(Lambda(lambda self, x: self.layer(x.transpose(0, 1)).transpose(0, 1), layer=layer)))


@awkward
def sequence_first_as_long_as_the_batch() -> Awkward:
    layer = nn.TransformerEncoderLayer(4, 1, 3, dropout=0.0)
    mixer = Lambda(lambda self, x: self.layer(x.transpose(0, 1)).transpose(0, 1), layer=layer)
    return of_tokens(Tagger(mixer), length=N)


@awkward
def lstm() -> Awkward:
    return of_tokens(Tagger(nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True), 6, lambda out: out[0]))


@awkward
def gru_sequence_first() -> Awkward:
    mixer = Lambda(lambda self, x: self.gru(x.transpose(0, 1))[0].transpose(0, 1), gru=nn.GRU(4, 3))
    return of_tokens(Tagger(mixer, 3))


@awkward
def gru_cell_over_time() -> Awkward:
    def forward(self: Any, x: Tensor) -> Any:
        state = x.new_zeros(len(x), 3)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return state

    return of_layers(Lambda(forward, cell=nn.GRUCell(2, 3)), 4, 2)


# Batches, outputs and losses.


@awkward
def dict_batch() -> Awkward:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["left"], batch["right"]), batch["label"], reduction="none")

    model = Lambda(lambda self, a, b: self.output(torch.tanh(self.left(a)) * self.right(b)), left=nn.Linear(4, 5))
    model.right, model.output = nn.Linear(2, 5), nn.Linear(5, 3)
    return Awkward(model, {"left": torch.randn(N, 4), "right": torch.randn(N, 2), "label": labels()}, loss)


@awkward
def dict_batch_mean() -> Awkward:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(model(batch["x"]), batch["y"])

    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    return Awkward(model, {"x": torch.randn(N, 4), "y": torch.randn(N, 2)}, loss)


@awkward
def inputs_of_two_tensors() -> Awkward:
    model = Lambda(lambda self, pair: self.left(pair[0]) + self.right(pair[1]), left=nn.Linear(4, 3))
    model.right = nn.Linear(2, 3)
    return Awkward(model, ((torch.randn(N, 4), torch.randn(N, 2)), labels()), cross_entropy)


@awkward
def tuple_of_outputs() -> Awkward:
    def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], targets, reduction="none") + 0.3 * outputs[1].square().mean(1)

    model = Lambda(lambda self, x: (self.left(x), torch.tanh(self.right(x))), left=nn.Linear(4, 3))
    model.right = nn.Linear(4, 2)
    return Awkward(model, (torch.randn(N, 4), labels()), loss)


@awkward
def byte_images() -> Awkward:
    model = Lambda(lambda self, x: self.layer(x.to(self.layer.weight.dtype).flatten(1) / 255), layer=nn.Linear(9, 3))
    return Awkward(model, (torch.randint(256, (N, 1, 3, 3), dtype=torch.uint8), labels()), cross_entropy)


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


@awkward
def mean_loss() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(N, 4), labels()), nn.CrossEntropyLoss())


@awkward
def sum_loss() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(N, 4), labels()), nn.CrossEntropyLoss(reduction="sum"))


@awkward
def mean_loss_of_two() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(2, 4), labels(2)), nn.CrossEntropyLoss())


@awkward
def mean_loss_of_one() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(1, 4), labels(1)), nn.CrossEntropyLoss())


@awkward
def class_weighted_mean_loss() -> Awkward:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, weight=torch.tensor([0.2, 1.0, 3.0], dtype=outputs.dtype))

    return Awkward(_perceptron(), (torch.randn(N, 4), torch.tensor([0, 1, 2, 2, 0])), loss)


def _penalised(reduction: str) -> Awkward:
    model = _perceptron()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        weight = model.get_parameter("0.weight")
        return F.cross_entropy(outputs, targets, reduction=reduction) + 0.1 * weight.square().sum()

    return Awkward(model, (torch.randn(N, 4), labels()), loss)


@awkward
def penalised_loss_of_each() -> Awkward:
    return _penalised("none")


@awkward
def penalised_mean_loss() -> Awkward:
    return _penalised("mean")


@awkward
def penalised_sum_loss() -> Awkward:
    """Neither the sum nor the mean of what it is for one example, which is penalised as much as all."""
    return _penalised("sum")


@awkward
def smoothed_labels() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(N, 4), labels()), nn.CrossEntropyLoss(label_smoothing=0.1))


@awkward
def token_mean_with_padding() -> Awkward:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=-1)

    model = nn.Sequential(nn.Embedding(6, 4), nn.Tanh(), nn.Linear(4, 6))
    targets = torch.tensor([[1, 2, 3, 4], [5, -1, -1, -1], [0, 0, -1, -1], [2, 1, 3, -1], [4, -1, -1, -1]])
    return Awkward(model, (torch.randint(6, (N, 4)), targets), loss)


@awkward
def token_mean_of_full_length() -> Awkward:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    model = nn.Sequential(nn.Embedding(6, 4), nn.Tanh(), nn.Linear(4, 6))
    return Awkward(model, (torch.randint(6, (N, 4)), torch.randint(6, (N, 4))), loss)


@awkward
def regression() -> Awkward:
    model = Lambda(lambda self, x: self.layers(x).squeeze(1), layers=nn.Sequential(nn.Linear(4, 5), nn.Tanh()))
    model.layers.append(nn.Linear(5, 1))
    return Awkward(model, (torch.randn(N, 4), torch.randn(N)), nn.MSELoss())


@awkward
def examples_already_fitted() -> Awkward:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.multi_margin_loss(outputs, targets, margin=0.05, reduction="none")

    return Awkward(_perceptron(), (3 * torch.randn(9, 4), labels(9)), loss)


@awkward
def identical_examples() -> Awkward:
    return Awkward(_perceptron(), (torch.randn(1, 4).expand(7, 4), torch.ones(7, dtype=torch.long)), cross_entropy)
