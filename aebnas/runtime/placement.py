"""Where a network runs: its device and its number type.

Legend: c channels, h height, w width.
"""

import torch

from .network import Network

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class PlacementError(ValueError):
    """Raised for a device or number type that can't run a network; the message is one line."""


def place(network: Network, device: str | torch.device, dtype: torch.dtype) -> torch.device:
    """Move a network to a device and change its weights to a number type; returns the device.

    Anything but float32 on the CPU is tried with one image, so that what can't run fails here. Raises PlacementError.
    """
    if dtype not in DTYPES:
        raise PlacementError(f"dtype must be one of {', '.join(map(str, DTYPES))}, but got {dtype!r}")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise PlacementError(f"device must be a device of PyTorch, but got {device!r}: {_first_line(error)}") from None
    if found.type == "meta":
        raise PlacementError("device must be one that can run the network, but got meta, which computes nothing")
    try:
        network.to(found, dtype)
        if found.type != "cpu" or dtype != torch.float32:
            _try(network, found, dtype)
    except Exception as error:  # drivers and kernels raise all sorts
        got = f"{device!s} with {dtype}: {type(error).__name__}: {_first_line(error)}"
        raise PlacementError(f"device must be one that can run the network, but got {got}") from None
    return found


@torch.no_grad()
def _try(network: Network, device: torch.device, dtype: torch.dtype) -> None:
    image_nchw = torch.zeros(1, *network.graph.input_shape, device=device, dtype=dtype)
    for logits_nc in network(image_nchw):
        logits_nc.float().cpu()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
