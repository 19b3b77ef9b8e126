"""A trained early-exit image classifier: its command and its Python API.

    python model.py image.png [more.png ...] [--device cuda]
    python model.py --check

    from model import Model
    predictions = Model.load().predict("image.png")

Requires torch, numpy, pillow and safetensors, and the other files of this folder.
Legend: n images, h height, w width, c channels (in `logits_nc`: classes).
"""

import hashlib
import importlib
import importlib.util
import json
import operator
import runpy
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:  # only for type checkers: at run time the copy in `runtime/` is used
    from aebnas.runtime.adaptation import AdaptivePolicy
    from aebnas.runtime.adaptive_model import Adaptive
    from aebnas.runtime.exit_policy import ExitPolicy
    from aebnas.runtime.monitor import Monitor
    from aebnas.runtime.network import ExitPrediction, Network
    from aebnas.runtime.preprocessing import Preprocessing
    from aebnas.runtime.self_check import CheckResult

RUNTIME = (
    *("__init__", "adaptation", "adaptive_model", "blocks", "choice", "choice_rules", "command", "conv_norm"),
    *("cost_rules", "difficulty", "exit_criteria", "exit_policy", "exit_rule", "fresh_lock", "gate_rules", "graph"),
    *("monitor", "network", "normalise", "op", "ops", "placement", "preprocessing", "score_rules", "self_check"),
    *("shape_rules", "simple_layers", "threshold_rules"),
)
_RANDOM_NUMBERS = threading.Lock()
"""Held while the process's random numbers are put aside: threads that did so at once would restore each other's."""

BATCH = 256
OWN_FOLDER = Path(__file__).resolve().parent

ImageLike = str | Path | Image.Image | np.ndarray | Tensor
Images = ImageLike | Iterable[ImageLike]
"""One or more images, in any of these forms:

- a uint8 array `[n, h, w, c]` (`[n, h, w]` will do for a grey model) of the model's own size;
- a uint8 tensor `[n, c, h, w]` (or `[n, h, w]`) of the model's own size;
- a path of an image file or a PIL image, of any size, where the model takes 1 or 3 channels;
- a path of a `.npy` file, a uint8 array `[h, w, c]` of the model's own size;
- several of the last, or of arrays `[h, w, c]` and tensors `[c, h, w]` of the model's own size.
"""

KINDS = "a path, a PIL image, an array or a tensor"


class BadInput(ValueError):
    """Raised for an image or a file of the folder that cannot be used; the message is one line."""

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in super().__str__())


class Prediction(NamedTuple):
    """The prediction for one image: `label` from 0, `exit_taken` from 1, the `macs` that ran."""

    label: int
    class_name: str
    probability: float
    exit_taken: int
    macs: int


class Model:
    """A network, its exit policy and its preprocessing, read from an exported folder.

    `shape` is (channels, height, width) of an image, `macs_to_exit [E]` the multiply-adds of an image that leaves at
    each exit, `full_macs` those of one that leaves at the last. `monitor` counts the predictions of `predict` and
    `infer`: `monitor.report()` returns exits taken and mean confidences, `monitor.drift` is whether exit rates have
    left the bands that were determined with the thresholds. Several threads may use one model: each image is counted
    once, and only the counting waits for other threads.

    Images are read on the CPU; they are normalised, and the network runs, on `device` in numbers of `dtype`. Results
    are on the CPU, logits in float32, whatever these are.

    A copied or pickled model is read from its folder again, also in another process; BadInput if the folder is not as
    it was, or the device isn't there. It keeps `policy`, counts and adaptation as they stood, but no changes made to
    `network`.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        runtime = _load_runtime(folder)
        self.folder = folder
        self.network = _load_network(folder, runtime)
        try:
            self.device: torch.device = runtime["placement"].place(self.network, device, dtype)
        except runtime["placement"].PlacementError as error:
            raise BadInput(str(error)) from None
        self.dtype = dtype
        self._runtime = runtime
        self._absolute, self._digest = folder.absolute(), _digest(folder)
        self.adaptive: Adaptive | None = None
        with _reading(folder / "policy.json") as path:
            self.policy: ExitPolicy = runtime["exit_policy"].ExitPolicy.from_json(_read_json(path))
        with _reading(folder / "preprocessing.json") as path:
            preprocessing = _read_json(path)
            self.class_names: tuple[str, ...] = tuple(preprocessing["classes"])
            self.preprocessing: Preprocessing = runtime["preprocessing"].Preprocessing.from_json(preprocessing)
            self.shape = self.preprocessing.shape
        with _reading(folder / "costs.json") as path:
            costs = _read_json(path)
            self.macs_to_exit: tuple[int, ...] = tuple(costs["macs_to_exit"])
            self.full_macs = int(costs["full_macs"])
            # exports of earlier versions, whose networks aren't boosted, don't hold it
            self._audit_macs = int(costs.get("audit_macs", costs["macs_without_exits"]))
        with _reading(folder / "monitor.json") as path:
            expected = runtime["monitor"].Expected.from_json(_read_json(path))
            self.monitor: Monitor = runtime["monitor"].Monitor(expected)
        self._check_fit()

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Model":
        """Read a model from `folder`, by default the folder of this file; raises BadInput.

        `device` is any of PyTorch's (`cpu`, `cuda`, `cuda:1`, `mps`), `dtype` float32, bfloat16, float16 or float64.
        BadInput, too, where the device isn't there or can't run the network in that type.
        """
        return cls(Path(folder) if folder is not None else OWN_FOLDER, device, dtype)

    def __reduce__(self) -> tuple[Callable[..., "Model"], tuple[str, str, torch.dtype], dict[str, Any]]:
        adaptive = self.adaptive
        state = {
            "policy": self.policy,
            "monitor": self.monitor.state,
            "adaptive": None if adaptive is None else (adaptive.policy, adaptive.state),
        }
        # the state is read after the model, when its classes can be found
        return _ReadAgain(str(self._absolute)), (self._digest, str(self.device), self.dtype), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.policy, self.monitor.state = state["policy"], state["monitor"]
        if state["adaptive"] is not None:
            policy, adapted = state["adaptive"]
            self._adapt_by(policy).state = adapted

    def predict(self, images: Images) -> list[Prediction]:
        """One prediction per image, of what `Images` allows; raises BadInput for anything else."""
        predictions = []
        for part in self._pixels(images).split(BATCH):
            found = self._counted(part)
            probability, label = self._calibrated(found).softmax(-1).max(-1)
            for index, p, taken in zip(label.tolist(), probability.tolist(), found.exit_index.tolist(), strict=True):
                name, macs = self.class_names[index], self.macs_to_exit[taken]
                predictions.append(Prediction(index, name, p, taken + 1, macs))
        return predictions

    def infer(self, images: Images) -> "ExitPrediction":
        """Logits `[n, classes]` and exit taken `[n]` (from 0) of the images that `predict` takes; raises BadInput.

        All of them run as one batch.
        """
        return self._counted(self._pixels(images))

    def adapt(self, **settings: Any) -> "Adaptive":
        """Turn on online adaptation of thresholds; `settings` are those of `AdaptivePolicy`.

        A share of the images also runs to the last exit, whose prediction serves as their label. Returns the object
        that holds the state. `model.adaptive = None` turns it off. Raises ValueError for settings out of range.
        """
        return self._adapt_by(
            self._runtime["adaptation"].AdaptivePolicy(self.policy, len(self.class_names), **settings)
        )

    def _adapt_by(self, policy: "AdaptivePolicy") -> "Adaptive":
        shares = [macs / self.full_macs for macs in self.macs_to_exit]
        audit = self._audit_macs / self.full_macs
        adaptive: Adaptive = self._runtime["adaptive_model"].Adaptive(self.network, policy, shares, audit)
        self.adaptive = adaptive
        return adaptive

    def _counted(self, pixels: Tensor) -> "ExitPrediction":
        adaptive = self.adaptive  # read once: another thread may end it
        found = self._infer(pixels) if adaptive is None else self._on_cpu(adaptive.infer(*self._input(pixels)))
        self.monitor.record(self._calibrated(found), found.exit_index)
        return found

    def _infer(self, pixels: Tensor) -> "ExitPrediction":
        x_nchw, alpha_n = self._input(pixels)
        return self._on_cpu(self.network.infer(x_nchw, self.policy, alpha_n))

    def _input(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network gets, on its device: normalised images and, for a policy that uses it, their difficulty."""
        alpha_n = self._alpha(pixels)
        x_nchw = self._runtime["normalise"].normalise(pixels.to(self.device), self.preprocessing, self.dtype)
        return x_nchw, None if alpha_n is None else alpha_n.to(self.device)

    @staticmethod
    def _on_cpu(found: "ExitPrediction") -> "ExitPrediction":
        return type(found)(found.logits.cpu(), found.exit_index.cpu())

    def _alpha(self, pixels: Tensor) -> Tensor | None:
        return None if self.policy.difficulty is None else self.policy.difficulty.alpha(pixels)

    def _calibrated(self, found: "ExitPrediction") -> Tensor:
        if not self.policy.temperatures:
            return found.logits
        return found.logits / torch.tensor(self.policy.temperatures)[found.exit_index, None]

    def check(self) -> "CheckResult":
        """Run the recorded images and compare the outputs with the recorded ones, those of float32 on the CPU.

        Logits may differ by 1e-4 times (1 + their magnitude); in float16, and in float32 on CUDA devices, by 0.02 times
        that; in bfloat16 by 0.2 times. Raises BadInput.
        """
        with _reading(self.folder / "check.npz") as path, path.open("rb") as raw, np.load(raw) as file:
            pixels, want_logits_nc = torch.from_numpy(file["images"]), torch.from_numpy(file["logits"])
            want_exit_n = torch.from_numpy(file["exit_index"])
            want_label_n = torch.from_numpy(file["labels"])
            n = len(self._from_array(pixels))
            if want_logits_nc.shape != (n, len(self.class_names)):
                raise ValueError("the recorded logits must have this model's shapes")
            if want_exit_n.shape != (n,) or want_label_n.shape != (n,) or n == 0:
                raise ValueError("an exit and a label must be recorded for each of one or more images")
        recorded = self._runtime["network"].ExitPrediction(want_logits_nc, want_exit_n)
        check = self._runtime["self_check"]
        tolerance = check.tolerance_of(self.device, self.dtype)
        alpha_n = self._alpha(pixels)
        result: CheckResult = check.compare(
            self._infer(pixels), recorded, want_label_n, self.policy, alpha_n, self.class_names, tolerance
        )
        return result

    def _pixels(self, images: Images) -> Tensor:
        """uint8 `[n, c, h, w]` of everything that can be given; raises BadInput."""
        if isinstance(images, np.ndarray | Tensor):
            return self._from_array(images)
        several = [images] if isinstance(images, str | Path | Image.Image) else images
        if not isinstance(several, Iterable):
            raise BadInput(f"images must be {KINDS}, or several of them, but got {type(images).__name__}")
        read = [self._from_one(one) for one in several]
        return torch.cat(read) if read else torch.empty(0, *self.shape, dtype=torch.uint8)

    def _from_one(self, image: ImageLike) -> Tensor:
        if isinstance(image, np.ndarray | Tensor):
            return self._from_array(image[None])
        if isinstance(image, str | Path | Image.Image):
            return self._from_image(image)[None]
        raise BadInput(f"an image must be {KINDS}, but got {type(image).__name__}")

    def _from_array(self, images: np.ndarray | Tensor) -> Tensor:
        channels, height, width = self.shape
        tensor = isinstance(images, Tensor)
        want = self.shape if tensor else (height, width, channels)
        fitting = images
        if channels == 1 and images.ndim == 3:
            fitting = images[:, None] if tensor else images[..., None]
        dtype = str(images.dtype).removeprefix("torch.")
        if dtype != "uint8" or tuple(fitting.shape[1:]) != want:
            wanted = f"uint8 {'tensor' if tensor else 'array'} [n, {', '.join(map(str, want))}]"
            raise BadInput(f"images must be {wanted}, but got {dtype} {list(images.shape)}")
        if isinstance(fitting, Tensor):
            return fitting.cpu()
        return torch.from_numpy(np.array(fitting.transpose(0, 3, 1, 2), order="C"))

    def _from_image(self, image: str | Path | Image.Image) -> Tensor:
        try:
            pixels_hwc = self.preprocessing.reader.read(image)
        except self._runtime["preprocessing"].ImageError as error:
            raise BadInput(str(error)) from None
        return torch.from_numpy(pixels_hwc).permute(2, 0, 1)

    def _check_fit(self) -> None:
        graph = self.network.graph
        if graph.input_shape != self.shape or graph.classes != len(self.class_names):
            raise BadInput(f"{self.folder}: graph.json and preprocessing.json do not belong together")
        exits = len(graph.exits)
        counts = {len(self.policy.thresholds) + 1, len(self.macs_to_exit), len(self.monitor.expected.shares)}
        if counts != {exits}:
            files = "graph.json, policy.json, costs.json and monitor.json"
            raise BadInput(f"{self.folder}: {files} do not belong together")


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Turn any exception raised by a missing or damaged file into a BadInput of one line that names the file."""
    try:
        yield path
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except Exception as error:  # a damaged file can fail anywhere in its reader
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{path}: cannot be read: {reason}") from error


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _load_runtime(folder: Path) -> dict[str, ModuleType]:
    """The modules of `folder/runtime`, as a package with a unique name, so that no other package can replace it."""
    package = folder / "runtime"
    digest = hashlib.sha256()
    for part in RUNTIME:
        with _reading(package / f"{part}.py") as path:
            digest.update(path.read_bytes())
    name = f"_early_exit_runtime_{digest.hexdigest()[:16]}"
    with _reading(package):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(
                name, package / "__init__.py", submodule_search_locations=[str(package)]
            )
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return {part: importlib.import_module(f"{name}.{part}") for part in RUNTIME if part != "__init__"}


def _load_network(folder: Path, runtime: dict[str, ModuleType]) -> "Network":
    # building draws initial weights; reading a model must not change the caller's random state
    with _reading(folder / "graph.json") as path, _RANDOM_NUMBERS, torch.random.fork_rng(devices=[]):
        graph = runtime["graph"].Graph.from_json(_read_json(path))
        network: Network = runtime["network"].Network(graph)
    with _reading(folder / "weights.safetensors") as path:
        fit = network.load_state_dict(load_file(path), strict=False)
        # batch norm's step counter is only used in training, so exports don't contain it
        missing = [key for key in fit.missing_keys if not key.endswith("num_batches_tracked")]
        if missing or fit.unexpected_keys:
            raise ValueError(f"missing weights {missing}, surplus weights {fit.unexpected_keys}")
    return network.eval()


READ = ("costs.json", "graph.json", "monitor.json", "policy.json", "preprocessing.json", "weights.safetensors")


def _digest(folder: Path) -> str:
    """Of all files that answers depend on."""
    digest = hashlib.sha256()
    for name in (*READ, *(f"runtime/{part}.py" for part in RUNTIME)):
        with _reading(folder / name) as path:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class _ReadAgain:
    """Reads the model of a folder again. Its pickle names the `model.py` by its path, which every process finds."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, digest: str, device: str, dtype: torch.dtype) -> Model:
        model = Model.load(self.folder, device, dtype)
        if model._digest != digest:
            raise BadInput(f"{self.folder}: must be as it was when the model was read, but its files have changed")
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        code = _Pickled(runpy.run_path, str(Path(self.folder) / "model.py"))
        return operator.methodcaller("__call__", self.folder), (_Pickled(operator.itemgetter("_read_again"), code),)


class _Pickled:
    """A call that is made when its pickle is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _read_again(folder: str) -> Any:
    """The `_ReadAgain` of this file's one module, whose name is made of its content: each process has one `Model`."""
    if MODULE not in sys.modules:
        spec = importlib.util.spec_from_file_location(MODULE, __file__)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(MODULE, module)
    return sys.modules[MODULE]._ReadAgain(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 success, 1 check failed, 2 bad input."""
    try:
        command = _load_runtime(OWN_FOLDER)["command"]
        code: int = command.run(lambda device: Model.load(device=device), arguments)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


MODULE = f"_early_exit_model_{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}"
"""A name by which pickles of predictions and errors from another process find this module."""

if __name__ != "<run_path>" and __name__ in sys.modules:
    sys.modules.setdefault(MODULE, sys.modules[__name__])

if __name__ == "__main__":
    sys.exit(main())
