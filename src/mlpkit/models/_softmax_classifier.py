"""A network together with its preprocessing and class names: raw examples in, logits out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit import _checks
from mlpkit.data import LabeledTensors
from mlpkit.errors import ArtifactError
from mlpkit.models._artifact import Artifact, read_artifact, write_artifact
from mlpkit.models._unpooled import unpooled_network, unpooled_values
from mlpkit.nn import (
    MLP,
    Activation,
    InitName,
    NormName,
    ParamGroup,
)

__all__ = ["SoftmaxClassifier"]


class SoftmaxClassifier(nn.Module):
    r"""A softmax classifier: standardize raw inputs, apply a network, return logits.

    .. math::
        \text{logits} = f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr), \qquad
        P(\text{class} = c \mid x) = \frac{e^{\text{logits}_c / T}}{\sum_j e^{\text{logits}_j / T}}

    The logits are unnormalized log-probabilities: the softmax is inside the cross-entropy while
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
            raise TypeError(_checks.error_message("network", "an mlpkit.nn.MLP", network))
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise TypeError(_checks.error_message("classes", "a sequence of names", classes))
        if network.out_features != len(classes):
            rule = f"as many names as the network has outputs ({network.out_features})"
            raise ValueError(_checks.error_message("classes", rule, tuple(classes)))
        shape = (network.in_features,) if input_shape is None else tuple(input_shape)
        if math.prod(shape) != network.in_features:
            rule = f"a shape of {network.in_features} features"
            raise ValueError(_checks.error_message("input_shape", rule, shape))
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
            norm: Normalization before each activation; None for none.
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
        """Return raw inputs as the network wants them: one axis of features, standardized.

        Raises:
            ValueError: If the shape is none of those that the class describes.
        """
        shape, one = x.shape, self.input_shape
        if shape == one:
            x = x.reshape(-1)
        elif shape[1:] == one or shape[1:] == (1, *one):
            x = x.flatten(1)
        elif shape[1:] != (self.network.in_features,):
            expected = ", ".join(["N", *(str(size) for size in one)])
            rule = f"of shape ({expected}) in its raw units"
            raise ValueError(_checks.error_message("x", rule, tuple(shape)))
        mean = _buffer(self, "mean")
        if x.dtype is not torch.uint8:  # pixels are converted by the subtraction
            x = x.to(mean.dtype)
        return (x - mean) / _buffer(self, "std")

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
            x,
            batch_size,
            lambda logits: torch.softmax(logits.float() / _buffer(self, "temperature"), -1),
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
        size = _checks.check_int("batch_size", batch_size, minimum=1)
        given: object = x
        if not isinstance(given, Tensor):
            cure = "torch.as_tensor(x) makes one"
            raise TypeError(_checks.error_message("x", "a tensor of raw inputs", given, cure))
        was_training = self.training
        if was_training:
            self.eval()
        try:
            with torch.inference_mode():
                device, shape = _buffer(self, "mean").device, x.shape
                if not shape or shape == self.input_shape or shape[0] <= size:
                    return finish(self(x.to(device)))
                return torch.cat([finish(self(part.to(device))) for part in torch.split(x, size)])
        finally:
            if was_training:
                self.train()

    def calibrate(self, val: LabeledTensors) -> float:
        r"""Fit the temperature on held-out examples, and return it.

        Minimizes the cross-entropy of ``softmax(logits / T)`` over :math:`T`; the predicted class
        never changes. The problem is convex in :math:`1/T`, and is solved by Newton's method.

        The targets are those of the n examples together with one more, whose label may be any:
        :math:`(1 - \epsilon)` of each target stays, and :math:`\epsilon = 1/(n+1)` is spread over
        all classes. Without it a set on which every prediction is right would ask for
        :math:`T \to 0`, a certainty that nothing has shown.

        Args:
            val: Examples that the network was not trained on, with class indices as targets.

        References:
            Guo et al. 2017, section 4.2. Platt 1999, Probabilistic Outputs for Support Vector
            Machines, section 2.2: targets that are never certain.
        """
        scores = self._in_batches(val.inputs, 4096, lambda logits: logits.double())
        targets = val.targets.to(scores.device)
        if targets.is_floating_point():
            raise TypeError(_checks.error_message("val.targets", "class indices", targets.dtype))
        epsilon = 1 / (len(targets) + 1)
        chosen = scores.gather(1, targets[:, None]).squeeze(1).mean()
        chosen = (1 - epsilon) * chosen + epsilon * scores.mean()
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

    def unpooled(self, kernel_size: int) -> SoftmaxClassifier:
        r"""Return the classifier of whole pictures that equals this one of averaged pictures.

        .. math:: f'(x) = f(\operatorname{avg\_pool}(x)), \qquad W'_{ki+a,\;kj+b} = W_{ij} / k^2

        The mean is linear, so it goes into the weights of the first layer: the result is an
        ordinary classifier, with :math:`k^2` times as many inputs. It shares nothing with this one,
        has no hooks and learns with all parameters; in training mode it differs where the network
        has ``input_dropout``.

        Args:
            kernel_size: Height and width :math:`k` of a block, in pixels, as it was given to
                :func:`mlpkit.data.avg_pool`.

        Raises:
            ValueError: If the classifier takes no pictures, or weights are parametrized or pruned.
            ConfigError: If the network has an activation that only exists as code.

        Example:
            >>> import torch
            >>> from mlpkit import SoftmaxClassifier
            >>> from mlpkit.data import avg_pool, digits
            >>> test = digits().test
            >>> small = SoftmaxClassifier.for_data(avg_pool(test, 2), (16,))
            >>> small.unpooled(2).predict_proba(test.inputs).shape
            torch.Size([360, 10])
        """
        kernel = _checks.check_int("kernel_size", kernel_size, minimum=1)
        *channels, height, width = _picture_shape(self.input_shape)
        whole = SoftmaxClassifier(
            unpooled_network(self.network, self.input_shape, kernel),
            classes=self.classes,
            mean=unpooled_values(self.mean, self.input_shape, kernel),
            std=unpooled_values(self.std, self.input_shape, kernel),
            input_shape=(*channels, height * kernel, width * kernel),
        )
        whole.temperature.copy_(self.temperature)
        return whole.train(self.training)

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the optimizer's parameter groups; see :meth:`mlpkit.nn.MLP.param_groups`."""
        return self.network.param_groups(weight_decay)

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
            ArtifactError: If a weight is not finite.
            ConfigError: If the network has an activation that only exists as code.
            OSError: If the folder cannot be written.
        """
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()
        }
        artifact = Artifact(
            network=self.network.config,  # of the modules as they are now
            classes=self.classes,
            input_shape=self.input_shape,
            tensors=tensors,
        )
        return write_artifact(Path(folder), artifact)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> SoftmaxClassifier:
        """Return the classifier saved in a folder, in eval mode; nothing loaded can run code.

        Args:
            folder: What :meth:`save` wrote, or its ``model.safetensors`` alone.
            device: Where the weights go.

        Raises:
            ArtifactError: If a file is missing, damaged, of an unknown version, or if the two
                files do not belong together.
        """
        found = read_artifact(Path(folder))
        try:
            model = cls(
                found.bare_network(),
                classes=found.classes,
                mean=found.tensors["mean"],
                std=found.tensors["std"],
                input_shape=found.input_shape,
            )
            model.load_state_dict(dict(found.tensors), assign=True)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"{folder} describes a model that cannot be built: {error}"
            ) from error
        return model.to(device).eval()

    def extra_repr(self) -> str:
        """Return what the parts below do not show."""
        return f"classes={self.classes}, input_shape={self.input_shape}"


def _statistic(name: str, value: float | Tensor, features: int, weight: Tensor) -> Tensor:
    """Return a checked buffer: one number, or one for each feature."""
    device = value.device if isinstance(value, Tensor) else weight.device
    tensor = torch.as_tensor(value, dtype=weight.dtype, device=device).clone()
    shape = tuple(tensor.shape)
    if tensor.ndim > 0:
        tensor = tensor.flatten()
    if tensor.shape not in ((), (features,)):
        rule = f"one number or one for each of {features} features"
        raise ValueError(_checks.error_message(name, rule, shape))
    if not bool(tensor.isfinite().all()):
        raise ValueError(_checks.error_message(name, "finite", value))
    if name == "std" and not bool((tensor > 0).all()):
        cure = "leave constant features at std 1"
        raise ValueError(_checks.error_message(name, "positive", value, cure))
    return tensor


def _buffer(model: nn.Module, name: str) -> Tensor:
    """Return ``model.name`` as fast as a buffer is found; torch looks elsewhere first."""
    found = model._buffers.get(name)
    value: Tensor = getattr(model, name) if found is None else found
    return value


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (2, 3):
        rule = "(H, W) or (channels, H, W) for pictures to be averaged"
        raise ValueError(_checks.error_message("input_shape", rule, shape))
    return shape


def _class_names(train: LabeledTensors) -> tuple[str, ...]:
    if train.classes is None:
        cure = "give LabeledTensors its classes"
        raise ValueError(_checks.error_message("train", "examples with class names", train, cure))
    return train.classes


def _mean_and_std(inputs: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of all values, summed in float64."""
    if not inputs.numel():
        raise ValueError(_checks.error_message("train", "one example or more", tuple(inputs.shape)))
    total = squares = 0.0
    if inputs.dtype == torch.uint8:  # each of the 256 values so many times
        counts = torch.bincount(inputs.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=inputs.device)
        total, squares = float(counts @ values), float(counts @ values.square())
    else:
        for chunk in torch.split(inputs, 8192):
            values = chunk.double()
            total += float(values.sum())
            squares += float(values.square().sum())
    mean = total / inputs.numel()
    std = math.sqrt(max(squares / inputs.numel() - mean * mean, 0.0))
    return mean, std if std > 0 else 1.0
