"""What `training_speed.py` compares with: the hand-made three-exit ResNet and its training, written by hand.

Nothing here is of aebnas. The recipe is that of aebnas's default: SGD with Nesterov momentum, warm-up and cosine, label
smoothing, self-distillation from the last exit, clipping, a moving average of the weights, random crop and flip.
Legend: n images, c channels, h height, w width, k classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass(frozen=True)
class Recipe:
    """Settings of the training."""

    batch_size: int
    precision: torch.dtype
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    distillation: float = 0.5
    clip: float = 5.0
    ema: float = 0.99
    crop: int = 4


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if before == width else _projection(before, width, stride)

    def forward(self, x_nchw: Tensor) -> Tensor:
        y_nchw = torch.relu(self.norm1(self.conv1(x_nchw)))
        return torch.relu(self.norm2(self.conv2(y_nchw)) + self.shortcut(x_nchw))


class Exit(nn.Module):
    """A branch of one convolution, mean pooling and a linear layer."""

    def __init__(self, before: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.linear(torch.relu(self.norm(self.conv(x_nchw))).mean((2, 3)))


class ThreeExitResNet(nn.Module):
    """The network of `hand_made_resnet.yaml`; its parameters have the order of aebnas's."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.stage1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.exit1 = Exit(16, 32, classes)
        self.stage2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.exit2 = Exit(32, 64, classes)
        self.stage3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.stage1(torch.relu(self.norm(self.stem(x_nchw))))
        second = self.stage2(first)
        return self.exit1(first), self.exit2(second), self.linear(self.stage3(second).mean((2, 3)))


def _projection(before: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def train(
    network: nn.Module,
    pixels_nchw: Tensor,
    labels_n: Tensor,
    mean_c: Tensor,
    std_c: Tensor,
    recipe: Recipe,
    seed: int,
) -> Iterator[None]:
    """One epoch on uint8 images, which are, as all other tensors, on the device of the network; yields at each step."""
    device, crop, size = pixels_nchw.device, recipe.crop, recipe.batch_size
    height, width = pixels_nchw.shape[2:]
    windows = F.pad(pixels_nchw, [crop] * 4).unfold(2, height, 1).unfold(3, width, 1)
    mean_c, std_c = mean_c.view(1, -1, 1, 1), std_c.view(1, -1, 1, 1)
    decayed = [weights for weights in network.parameters() if weights.ndim > 1]
    others = [weights for weights in network.parameters() if weights.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=True)
    steps = len(labels_n) // size
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    network.train()
    generator = torch.Generator(device).manual_seed(seed)
    order_n = torch.randperm(len(labels_n), device=device, generator=generator)
    for indices_n in order_n.split(size)[:steps]:
        row_n, column_n = torch.randint(2 * crop + 1, (2, size), device=device, generator=generator)
        flip_n = torch.rand(size, device=device, generator=generator) < 0.5
        x_nchw = windows[indices_n, :, row_n, column_n]
        x_nchw = torch.where(flip_n.view(-1, 1, 1, 1), x_nchw.flip(3), x_nchw)
        x_nchw = x_nchw.float().div_(255).sub_(mean_c).div_(std_c).contiguous(memory_format=torch.channels_last)
        y_n = labels_n[indices_n]
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, recipe.precision, enabled=recipe.precision != torch.float32):
            loss = joint_loss(network(x_nchw), y_n, recipe)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(network)
        yield


def joint_loss(logits: tuple[Tensor, ...], labels_n: Tensor, recipe: Recipe) -> Tensor:
    """Mean over exits of the cross-entropy against labels and, of early exits, the last exit's probabilities."""
    *early, last_nk = (exit_nk.float() for exit_nk in logits)
    total = F.cross_entropy(last_nk, labels_n, label_smoothing=recipe.label_smoothing)
    teacher_nk = last_nk.detach().softmax(-1)
    for exit_nk in early:
        hard = F.cross_entropy(exit_nk, labels_n, label_smoothing=recipe.label_smoothing)
        total = total + torch.lerp(hard, F.cross_entropy(exit_nk, teacher_nk), recipe.distillation)
    return total / len(logits)
