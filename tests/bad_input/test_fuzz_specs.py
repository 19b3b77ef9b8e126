"""Whatever a spec or a space holds: it is taken, or refused by one line. `AEBNAS_FUZZ=2000` looks longer, elsewhere."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import EXPERIMENT, GENES, SPACE

from aebnas.core.errors import UserError
from aebnas.core.metrics import METRICS
from aebnas.core.spec_base import read_spec
from aebnas.data.data_spec import AUGMENTATIONS
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.search.plan import make_plan
from aebnas.space.fields import block_ops, branch_ops
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec

EXAMPLES = int(os.environ.get("AEBNAS_FUZZ", "150"))
fuzzed = settings(max_examples=EXAMPLES, deadline=None, derandomize="AEBNAS_FUZZ" not in os.environ)

FULL_SPACE: dict[str, Any] = SPACE | {
    "input": {"channels": 1, "resolution": [6, "8x7"], "image_size": 8},
    "stages": [
        {"width": [4, 6], "depth": [1, 2], "op": ["mbconv", "basic"], "kernel": [1, 3], "expand": [2, 3]}
        | {"se": [False, True], "act": ["relu", "hswish"], "blocks": [{"op": "conv"}, {"kernel": 3}]},
        {"width": 8, "depth": [1, 3], "stride": [1, 2], "op": ["fused_mbconv", "skip"], "expand": 2},
        {"width": 8, "depth": 1, "op": "sepconv"},
    ],
    "exits": {"at": ["stage1", "stage2.block1"], "depth": [0, 2], "layer": ["conv", "resize+conv"], "side": [3, "2x4"]}
    | {"width": [0.5, 1], "pool": ["avg", "max"], "sites": {"stage1": {"optional": False, "kernel": [1, 3]}}},
}
FULL_EXPERIMENT: dict[str, Any] = EXPERIMENT | {
    "data": {"name": "digits", "root": None, "loaders": 0, "class_names": list("0123456789")}
    | {"augment": {"crop": 1, "flip": "alternate", "mixup": 0.2}, "splits": {"search": 0.2, "certify": 10}},
    "constraints": ["params <= 1e5", "accuracy >= 0.1"],
    "target": {"metric": "avg_macs", "value": 5e4, "weight": 0.1},
    "supernet": EXPERIMENT["supernet"] | {"exit_weights": {"stage1": 0.3, "last": 1}, "clip": 5.0, "ema": 0.9},
    "evaluate": {
        "weights": "finetune(2)",
        "training": {"lr": 0.1, "batch_size": 16},
        "threads": 1,
    },
    "ray": "local",
}
SPACES, EXPERIMENTS = [SPACE, GENES, FULL_SPACE], [EXPERIMENT, FULL_EXPERIMENT]


def words(value: Any) -> set[str]:
    """All keys and texts of a spec."""
    if isinstance(value, dict):
        return {str(key) for key in value}.union(*map(words, value.values()))
    if isinstance(value, list):
        return set().union(*map(words, value))
    return {value} if isinstance(value, str) else set()


KNOWN = sorted(words(SPACES) | words(EXPERIMENTS) | {*METRICS, *AUGMENTATIONS, *block_ops(), *branch_ops()})
ODD_NUMBERS = [0, -1, 1, 2, 3, 64, 10**6, 10**17, -(10**40), 1.5, -0.0, 1e-9, 1e300, float("nan"), float("inf")]
ODD_TEXTS = ["", " ", "a\nb", "\0", "\x1b[31m", "~", "~nobody/x", "é" * 90, "never", "1e3", "2001-13-01", "!!x", "yes"]
SCALARS = (
    st.sampled_from([None, True, False, *ODD_NUMBERS, *ODD_TEXTS, *KNOWN]) | st.integers() | st.floats() | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=6,
)
MUTATIONS = ("replace", "drop", "rename", "nest", "double", "as_text", "swap")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a spec."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *places(item, (*path, key)))]


@st.composite
def mutated(draw, sound: list[dict[str, Any]]) -> Any:
    """A sound spec with one to four things wrong (or still right)."""
    spec = copy.deepcopy(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 4))):
        if not (found := places(spec)):
            break
        *parents, last = draw(st.sampled_from(found))
        place = spec
        for part in parents:
            place = place[part]
        match draw(st.sampled_from(MUTATIONS)):
            case "drop":
                del place[last]
            case "rename" if isinstance(place, dict):
                place[draw(st.sampled_from(KNOWN) | st.text(max_size=8) | st.just(f"{last}s"))] = place.pop(last)
            case "nest":
                place[last] = draw(st.sampled_from([[place[last]], {"a": place[last]}, [place[last], place[last]]]))
            case "double" if isinstance(place[last], list | str):
                place[last] = place[last] + place[last]
            case "as_text":
                place[last] = str(place[last])
            case "swap":
                other = draw(st.sampled_from(places(spec)))
                value: Any = spec
                for part in other:
                    value = value[part]
                place[last] = copy.deepcopy(value)
            case _:
                place[last] = draw(VALUES)
    return spec


@st.composite
def scratched(draw, sound: list[dict[str, Any]]) -> bytes:
    """The text of a sound spec with characters lost, repeated, or put in."""
    text = yaml.safe_dump(draw(st.sampled_from(sound)), default_flow_style=draw(st.booleans()))
    for _ in range(draw(st.integers(1, 5))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
        put_in = draw(
            st.sampled_from(["", *":-[]{}&*!|>'\"%@`?#,\n\t\0 ", "&a ", "*a", "<<: ", "!!", "---\n"]) | st.text()
        )
        text = text[:at] + put_in * draw(st.integers(1, 3)) + text[at + length :]
    return text.encode("utf-8", errors="surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the files are written over and over; it holds a sound space."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    return folder


def one_line_or_none(read, file: Path, content: bytes) -> None:
    """Reading works, or raises a UserError of one line that names the file."""
    file.write_bytes(content)
    try:
        read(file)
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 1000 and file.parent.name in message, message


@given(spec=mutated(EXPERIMENTS))
@fuzzed
def test_mutated_experiments(folder, spec):
    one_line_or_none(make_plan, folder / "spec.yaml", yaml.safe_dump(spec, allow_unicode=True).encode())


@given(spec=mutated(SPACES))
@fuzzed
def test_mutated_spaces(folder, spec):
    one_line_or_none(SearchSpace.load, folder / "other_space.yaml", yaml.safe_dump(spec, allow_unicode=True).encode())


@given(content=scratched(EXPERIMENTS) | scratched(SPACES) | st.text().map(str.encode) | st.binary())
@fuzzed
def test_any_text(folder, content):
    for model in (ExperimentSpec, SpaceSpec):
        one_line_or_none(lambda file, model=model: read_spec(model, file), folder / "text.yaml", content)


def test_valid_specs_are_accepted(folder):
    for space in SPACES:
        (folder / "sound.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
        SearchSpace.load(folder / "sound.yaml")
    for experiment in EXPERIMENTS:
        (folder / "sound.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
        make_plan(folder / "sound.yaml")
