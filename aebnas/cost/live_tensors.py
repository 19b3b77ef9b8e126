"""Records which activations are alive while a network runs."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Records the bytes of all storages that ops allocate inside the `with` block, until they are freed.

    `now_bytes` is the number of bytes alive, `peak_bytes` its maximum so far. Weights aren't counted, nor is scratch
    memory that a kernel allocates and frees before it returns. `given` are tensors allocated before that are counted,
    too, such as the network's input. It also works on the meta device, where nothing is computed.
    """

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.now_bytes = self.peak_bytes = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in given:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # a result that shares its storage with an argument (a view, an op in place) allocates nothing
        shared = {_key(leaf) for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _key(leaf) not in shared:
                self._note(leaf)
        return result

    def _note(self, tensor: Tensor) -> None:
        key, storage = _key(tensor), tensor.untyped_storage()
        if key in self._alive:
            return
        size = storage.nbytes()

        def freed(_: object) -> None:
            self.now_bytes -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, freed)
        self.now_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.now_bytes)


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def recorded_peak(network: torch.nn.Module, x_nchw: Tensor, policy: Any) -> int:
    """Peak bytes of activations while `network.infer(x_nchw, policy)` runs, the input included."""
    with LiveTensors(x_nchw) as live:
        network.infer(x_nchw, policy)  # type: ignore[operator]
    return live.peak_bytes
