"""A network together with its preprocessing and class names: raw examples in, logits out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mlpkit import _checks, _plain
from mlpkit._files import sweep_temporary, write_atomically
from mlpkit.data import LabeledTensors
from mlpkit.errors import ArtefactError
from mlpkit.nn import (
    MLP,
    Activation,
    Backpropagation,
    InitName,
    MLPConfig,
    NormName,
    ParamGroup,
)

__all__ = ["SoftmaxClassifier"]

FORMAT = "mlpkit.classifier"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class SoftmaxClassifier(nn.Module):
    r"""A softmax classifier: standardise raw inputs, apply a network, return logits.

    .. math::
        \text{logits} = f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr), \qquad
        P(\text{class} = c \mid x) = \frac{e^{\text{logits}_c / T}}{\sum_j e^{\text{logits}_j / T}}

    The logits are unnormalised log-probabilities: the softmax is inside the cross-entropy while
    training, and inside :meth:`predict_proba` afterwards. The temperature :math:`T` is 1 unless
    :meth:`calibrate` has fitted it.

    Args:
        network: An :class:`mlpkit.nn.MLP` with as many outputs as there are classes.
        classes: Name of each class, in the order of the network's outputs.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None means a vector of
            ``network.in_features``.

    Shape:
        - Input: ``(N, *input_shape)``, ``(N, 1, *input_shape)`` as torchvision gives pictures,
          ``(N, in_features)``, or one example of ``input_shape`` without N. Any numeric type, in
          the raw units that ``mean`` and ``std`` are measured in; uint8 pictures as they come.
        - Output: ``(N, num_classes)``, or ``(num_classes,)`` for one example.

    Raises:
        ValueError: If classes, mean, std or input_shape do not fit the network.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> network = MLP(4, (8,), 3, generator=torch.Generator().manual_seed(0))
        >>> model = SoftmaxClassifier(network, classes=("a", "b", "c"), mean=7.5, std=4.6)
        >>> model.predict_proba(torch.randint(0, 16, (5, 4), dtype=torch.uint8)).shape
        torch.Size([5, 3])

    References:
        Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
        section 4.2 (temperature scaling). https://arxiv.org/abs/1706.04599
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(
        self,
        network: MLP,
        *,
        classes: Sequence[str],
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if not isinstance(network, MLP):
            raise TypeError(_checks.sentence("network", "an mlpkit.nn.MLP", network))
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise TypeError(_checks.sentence("classes", "a sequence of names", classes))
        if network.out_features != len(classes):
            rule = f"as many names as the network has outputs ({network.out_features})"
            raise ValueError(_checks.sentence("classes", rule, tuple(classes)))
        shape = (network.in_features,) if input_shape is None else tuple(input_shape)
        if math.prod(shape) != network.in_features:
            rule = f"a shape of {network.in_features} features"
            raise ValueError(_checks.sentence("input_shape", rule, shape))
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.input_shape = shape
        weight = next(network.parameters())
        self.register_buffer("mean", _statistic("mean", mean, network.in_features, weight))
        self.register_buffer("std", _statistic("std", std, network.in_features, weight))
        self.register_buffer("temperature", weight.new_ones(()))

    @classmethod
    def for_data(
        cls,
        train: LabeledTensors,
        hidden_features: Sequence[int] = (512, 256),
        *,
        activation: Activation | Sequence[Activation] = "relu",
        norm: NormName | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        bias: bool = True,
        residual: bool = False,
        init: InitName = "auto",
        max_norm: float | None = None,
        generator: torch.Generator | None = None,
    ) -> SoftmaxClassifier:
        """Return an untrained classifier that fits a data set.

        Input shape, class names, and mean and standard deviation over all values of the training
        inputs come from the data; the other arguments are those of :class:`mlpkit.nn.MLP`.

        Args:
            train: The training examples, with class names.
            hidden_features: Width of each hidden layer after its activation.
            activation: Hidden non-linearity, one or one for each hidden layer.
            norm: Normalisation before each activation; None for none.
            dropout: Probability of zeroing, one or one for each hidden layer.
            input_dropout: Probability of zeroing an input of the network.
            bias: Whether the linear layers add one.
            residual: Whether hidden layers add their input to their output.
            init: How the weights start.
            max_norm: Upper bound of each weight row's norm; None for none.
            generator: Source of the random weights; None is torch's global one.

        Raises:
            ValueError: If the data has no class names.
        """
        network = MLP(
            math.prod(train.inputs.shape[1:]),
            hidden_features,
            len(_class_names(train)),
            activation=activation,
            norm=norm,
            dropout=dropout,
            input_dropout=input_dropout,
            bias=bias,
            residual=residual,
            init=init,
            max_norm=max_norm,
            generator=generator,
        )
        return cls.with_network(network, train)

    @classmethod
    def with_network(cls, network: MLP, train: LabeledTensors) -> SoftmaxClassifier:
        """Return a classifier around a network, with the preprocessing that a data set needs.

        Args:
            network: An MLP with an input for each value of an example and an output for each class.
            train: The training examples, with class names.

        Raises:
            ValueError: If the data has no class names, or the network does not fit it.
        """
        mean, std = _mean_and_std(train.inputs)
        shape = tuple(train.inputs.shape[1:])
        return cls(network, classes=_class_names(train), mean=mean, std=std, input_shape=shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of raw inputs."""
        return self.network(self.standardize(x))

    if TYPE_CHECKING:  # nn.Module declares __call__ as returning Any

        def __call__(self, x: Tensor) -> Tensor:
            """Return the logits of raw inputs, running the hooks of torch.nn.Module."""

    def standardize(self, x: Tensor) -> Tensor:
        """Return raw inputs as the network wants them: one axis of features, standardised.

        Raises:
            ValueError: If the shape is none of those that the class describes.
        """
        shape = tuple(x.shape)
        if shape == self.input_shape:
            x = x.reshape(-1)
        elif shape[1:] in (self.input_shape, (1, *self.input_shape)):
            x = x.flatten(1)
        elif shape[1:] != (self.network.in_features,):
            expected = ", ".join(["N", *(str(size) for size in self.input_shape)])
            raise ValueError(
                _checks.sentence("x", f"of shape ({expected}) in its raw units", shape)
            )
        values = x.to(self.mean.dtype)
        centred = values - self.mean if values is x else values.sub_(self.mean)
        return centred.div_(self.std)

    def predict_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the probability of each class, summing to one, in float32.

        Args:
            x: Raw inputs, on any device.
            batch_size: Examples in one forward pass, which bounds the memory.

        Shape:
            - Input: as :class:`SoftmaxClassifier`.
            - Output: ``(N, num_classes)``, on the device of the model.
        """
        return self._in_batches(
            x, batch_size, lambda logits: torch.softmax(logits.float() / self.temperature, -1)
        )

    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the index of the most probable class as int64.

        Args:
            x: Raw inputs, on any device.
            batch_size: Examples in one forward pass, which bounds the memory.

        Shape:
            - Input: as :class:`SoftmaxClassifier`.
            - Output: ``(N,)``; no axis for one example. ``classes[index]`` is the name.
        """
        return self._in_batches(x, batch_size, lambda logits: logits.argmax(-1))

    def _in_batches(self, x: Tensor, batch_size: int, finish: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `finish` to the logits of each batch, in eval mode and without gradients."""
        size = _checks.integer("batch_size", batch_size, minimum=1)
        given: object = x
        if not isinstance(given, Tensor):
            cure = "torch.as_tensor(x) makes one"
            raise TypeError(_checks.sentence("x", "a tensor of raw inputs", given, cure))
        was_training = self.training
        if was_training:
            self.eval()
        try:
            with torch.inference_mode():
                if x.ndim == 0 or x.shape == self.input_shape or len(x) <= size:
                    return finish(self(x.to(self.mean.device)))
                batches = torch.split(x, size)
                return torch.cat([finish(self(part.to(self.mean.device))) for part in batches])
        finally:
            if was_training:
                self.train()

    def calibrate(self, val: LabeledTensors) -> float:
        r"""Fit the temperature on held-out examples, and return it.

        Minimises the cross-entropy of ``softmax(logits / T)`` over :math:`T`; the predicted class
        never changes. The problem is convex in :math:`1/T`, and is solved by Newton's method.

        Args:
            val: Examples that the network was not trained on, with class indices as targets.
        """
        scores = self._in_batches(val.inputs, 4096, lambda logits: logits.double())
        targets = val.targets.to(scores.device)
        if targets.is_floating_point():
            raise TypeError(_checks.sentence("val.targets", "class indices", targets.dtype))
        chosen = scores.gather(1, targets[:, None]).squeeze(1).mean()
        inverse = torch.ones((), dtype=torch.float64, device=scores.device)
        for _ in range(100):
            probabilities = torch.softmax(inverse * scores, -1)
            expected = (probabilities * scores).sum(-1)
            slope = expected.mean() - chosen
            curvature = ((probabilities * scores.square()).sum(-1) - expected.square()).mean()
            # halving at most: far from the optimum the quadratic model overshoots below zero
            step = torch.minimum(slope / curvature.clamp_min(1e-12), inverse / 2)
            inverse = (inverse - step).clamp(1e-3, 1e3)
            if abs(float(step)) < 1e-10:
                break
        self.temperature.copy_(1.0 / inverse)
        return float(self.temperature)

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the optimiser's parameter groups; see :meth:`mlpkit.nn.MLP.param_groups`."""
        return self.network.param_groups(weight_decay)

    def backpropagation(self) -> Backpropagation | None:
        """Return what computes outputs and gradients faster than autograd, None if nothing does.

        See :meth:`mlpkit.nn.MLP.backpropagation`.
        """
        is_plain = type(self) is SoftmaxClassifier and self._compiled_call_impl is None
        if not is_plain or self.network.backpropagation() is None:
            return None
        return Backpropagation(self.network, within=(self,), prepare=self.standardize)

    @property
    def max_norm(self) -> float | None:
        """Upper bound of each weight row's norm; None for none."""
        return self.network.max_norm

    def apply_max_norm_(self) -> None:
        """Scale weight rows down to ``max_norm``; see :meth:`mlpkit.nn.MLP.apply_max_norm_`."""
        self.network.apply_max_norm_()

    def save(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, and return it.

        The folder has the layout of the Hugging Face hub. ``model.safetensors`` is complete by
        itself: it holds the configuration and a digest of the weights too. Whatever interrupts
        the save, :meth:`load` finds the whole old model or the whole new one.

        Args:
            folder: Made if it is missing; a model in it is replaced.

        Raises:
            ArtefactError: If a weight is not finite.
            ConfigError: If the network has an activation that only exists as code.
            OSError: If the folder cannot be written.
        """
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()
        }
        for name, value in tensors.items():
            if not bool(value.isfinite().all()):
                raise ArtefactError(_checks.sentence(name, "finite to be saved", "NaN or infinity"))
        description = self._description()  # of the modules as they are now
        wrong = _differing(_bare(self.network.config, tensors), tensors)
        if wrong:
            cure = "a layer was replaced or parametrised; save its state_dict yourself"
            raise ArtefactError(
                _checks.sentence("network", "what its config describes", ", ".join(wrong), cure)
            )
        config = json.dumps(description, indent=2) + "\n"
        metadata = {"format": "pt", "config": config, "sha256": _digest(tensors)}
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporary(folder)
        # While the weights are replaced there is no config.json that could belong to the old ones.
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        write_atomically(folder / WEIGHTS_FILE, lambda file: file.write(save(tensors, metadata)))
        write_atomically(folder / CONFIG_FILE, lambda file: file.write(config.encode()))
        return folder

    def _description(self) -> dict[str, _plain.Plain]:
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "classes": list(self.classes),
            "input_shape": list(self.input_shape),
            "network": _plain.to_plain(self.network.config),
        }

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> SoftmaxClassifier:
        """Return the classifier saved in a folder, in eval mode; nothing loaded can run code.

        Args:
            folder: What :meth:`save` wrote, or its ``model.safetensors`` alone.
            device: Where the weights go.

        Raises:
            ArtefactError: If a file is missing, damaged, of an unknown version, or if the two
                files do not belong together.
        """
        path = Path(folder)
        weights_path = path / WEIGHTS_FILE if path.is_dir() else path
        tensors, metadata = _read_weights(weights_path)
        config = metadata.get("config", "")
        beside = weights_path.with_name(CONFIG_FILE)
        if path.is_dir() and beside.exists() and beside.read_bytes() != config.encode():
            raise ArtefactError(
                f"{beside} must be the file saved with {WEIGHTS_FILE}, got another text; "
                "put the two files of one model together again"
            )
        model = _from_description(cls, _parsed(config, weights_path), tensors, weights_path)
        if metadata != {"format": "pt", "config": config, "sha256": _digest(tensors)}:
            raise ArtefactError(
                f"{weights_path} must hold the weights that were saved, got other bytes; "
                "the file is damaged, copy it again"
            )
        return model.to(device).eval()

    def extra_repr(self) -> str:
        """Return what the parts below do not show."""
        return f"classes={self.classes}, input_shape={self.input_shape}"


def _from_description(
    cls: type[SoftmaxClassifier],
    description: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    path: Path,
) -> SoftmaxClassifier:
    """Build the classifier that a configuration describes around the tensors of its file."""
    network, classes, shape = (
        description.get(key) for key in ("network", "classes", "input_shape")
    )
    if not (isinstance(network, dict) and isinstance(classes, list) and isinstance(shape, list)):
        raise ArtefactError(
            f"{path} must describe a network, its classes and its input shape, got {description!r}"
        )
    try:
        config = _plain.from_plain(MLPConfig, network, source=str(path))
        bare = _bare(config, tensors)
        wrong = _differing(bare, tensors)
        if wrong:
            raise ArtefactError(
                f"{path} must hold the tensors that its configuration describes, "
                f"got a difference in {', '.join(wrong)}; save the model again"
            )
        model = cls(
            bare,
            classes=classes,
            mean=tensors["mean"],
            std=tensors["std"],
            input_shape=shape,
        )
        model.load_state_dict(dict(tensors), assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ArtefactError):
            raise
        raise ArtefactError(f"{path} describes a model that cannot be built: {error}") from error
    return model


def _bare(config: MLPConfig, tensors: Mapping[str, Tensor]) -> MLP:
    """Return the network of a configuration without memory: it may claim any size.

    Its dtype is that of the tensors; a classifier in bfloat16 or float64 comes back as one.
    """
    dtype = tensors["mean"].dtype if "mean" in tensors else None
    return MLP.from_config(config, device="meta", dtype=dtype)


def _differing(network: MLP, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the tensors that are not, in name, shape and type, those of the network."""
    expected = {f"network.{name}": value for name, value in network.state_dict().items()}
    statistics = {"mean", "std", "temperature"}
    wrong = (statistics | expected.keys()) ^ tensors.keys()
    wrong |= {
        name
        for name, value in expected.items()
        if name in tensors
        and (value.shape, value.dtype) != (tensors[name].shape, tensors[name].dtype)
    }
    return sorted(wrong)


def _statistic(name: str, value: float | Tensor, features: int, weight: Tensor) -> Tensor:
    """Return a checked buffer: one number, or one for each feature."""
    device = value.device if isinstance(value, Tensor) else weight.device
    tensor = torch.as_tensor(value, dtype=weight.dtype, device=device).clone()
    shape = tuple(tensor.shape)
    if tensor.ndim > 0:
        tensor = tensor.flatten()
    if tensor.shape not in ((), (features,)):
        rule = f"one number or one for each of {features} features"
        raise ValueError(_checks.sentence(name, rule, shape))
    if not bool(tensor.isfinite().all()):
        raise ValueError(_checks.sentence(name, "finite", value))
    if name == "std" and not bool((tensor > 0).all()):
        cure = "leave constant features at std 1"
        raise ValueError(_checks.sentence(name, "positive", value, cure))
    return tensor


def _class_names(train: LabeledTensors) -> tuple[str, ...]:
    if train.classes is None:
        cure = "give LabeledTensors its classes"
        raise ValueError(_checks.sentence("train", "examples with class names", train, cure))
    return train.classes


def _mean_and_std(inputs: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of all values, summed in float64 chunk by chunk."""
    total = squares = 0.0
    for chunk in torch.split(inputs, 8192):
        values = chunk.double()
        total += float(values.sum())
        squares += float(values.square().sum())
    mean = total / inputs.numel()
    std = math.sqrt(max(squares / inputs.numel() - mean * mean, 0.0))
    return mean, std if std > 0 else 1.0


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and bytes of all tensors, in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # a view as bytes: NumPy has no bfloat16
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, read once."""
    if not path.is_file():
        raise ArtefactError(
            f"{path} must be a file that SoftmaxClassifier.save wrote, got none; check the folder"
        )
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError) as error:
        raise ArtefactError(
            f"{path} must be a whole safetensors file, got an error: {error}; "
            "the file is damaged, copy it again"
        ) from error
    # Loading has checked the header: eight bytes of length, then JSON.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def _parsed(config: str, path: Path) -> Mapping[str, object]:
    """Return the configuration inside a weights file, if it is one of this format."""
    try:
        description = json.loads(config)
    except json.JSONDecodeError:
        description = None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ArtefactError(
            f"{path} must be a model saved by SoftmaxClassifier.save, got another safetensors "
            "file; load its tensors with safetensors.torch.load_file"
        )
    version = description.get("version")
    if version != FORMAT_VERSION:
        raise ArtefactError(
            f"{path} must have format version {FORMAT_VERSION}, got {version!r}; "
            "load it with the mlpkit that wrote it"
        )
    return description
