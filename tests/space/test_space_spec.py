"""The error of a malformed space is one line: file, YAML path, rule, value."""

from copy import deepcopy

import pytest
import yaml

from aebnas.core.errors import UserError
from aebnas.space.genome import SearchSpace
from aebnas.space.input_spec import InputSpec
from aebnas.space.spec import SpaceSpec

VALID = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 8},
    "stages": [
        {"width": [8, 12], "depth": [1, 2], "op": ["basic", "skip"]},
        {"width": 16, "depth": 2, "stride": 2, "op": "mbconv", "kernel": [3, 5], "expand": [2, 3]},
    ],
    "exits": {"at": ["stage1.block1", "stage1"], "depth": [0, 1], "width": [0.5, 1]},
    "policy": {"criterion": "margin", "thresholds": {"genes": [0.5, "never"]}},
}
GONE = object()
AT_STAGE_1 = "exits.at: must be sites of exits (stage ends: stage1; after blocks: block1), but got "


def changed(path, value):
    """VALID with another value at a dotted path, or without the key."""
    spec = deepcopy(VALID)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = spec
    for part in parents:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return spec


def load(tmp_path, spec):
    path = tmp_path / "space.yaml"
    path.write_text(spec if isinstance(spec, str) else yaml.safe_dump(spec), encoding="utf-8")
    return SearchSpace.load(path)


def test_the_valid_space_loads(tmp_path):
    space = load(tmp_path, VALID)
    assert [site.name for site in space.spec.sites()] == ["stage1.block1", "stage1"]
    assert space.spec.stages[1].width == (16,)


@pytest.mark.parametrize(
    "path, value, line",
    [
        ("stages.0.widht", [8], "stages.0.widht: unknown key, did you mean 'width'?"),
        ("exits.kernal", 3, "exits.kernal: unknown key, did you mean 'kernel'?"),
        ("colour", 3, "colour: unknown key"),
        ("stages.0.width", [], "stages.0.width: must have at least one choice, but got []"),
        (
            "stages.0.op",
            ["basic", "basic"],
            "stages.0.op: choices must be distinct, but got ['basic', 'basic']",
        ),
        (
            "policy.thresholds.genes",
            [0.5, 0.5],
            "policy.thresholds.genes: choices must be distinct, but got [0.5, 0.5]",
        ),
        ("stages.1.kernel", [3, 4], "stages.1.kernel: kernels must be odd, but got [3, 4]"),
        ("stem.kernel", 2, "stem.kernel: kernels must be odd, but got 2"),
        ("stages.1.kernel", 9, "stages.1.kernel: must be at most 7, to fit its 4x4 map at stage2.block2.mbconv"),
        (
            "exits.kernel",
            17,
            "exits.kernel: must be at most 15, to fit its 8x8 map at exit.stage1.block1.layer1.conv",
        ),
        (
            "input.resolution",
            1,
            "stem.kernel: must be at most 1, to fit its 1x1 map at stem, at input.resolution 1, but got 3",
        ),
        ("exits.at", ["stage3"], "exits.at: must be sites of exits (stage ends: stage1), but got 'stage3'"),
        (
            "exits.at",
            ["stage1.block2"],
            f"{AT_STAGE_1}'stage1.block2'",
        ),
        (
            "exits.at",
            ["stage1."],
            f"{AT_STAGE_1}'stage1.'",
        ),
        (
            "exits.at",
            "stage2",
            f"{AT_STAGE_1}'stage2'",
        ),  # the site of the final classifier
        ("exits.at", ["stage1", "stage1"], "exits.at: sites must be distinct"),
        ("exits.width", [1, 1.01], "exits.width: must give different widths from 8 channels, but got [1.0, 1.01]"),
        (
            "stages.1.expand",
            [2, 2.01],
            "stages.1.expand: must give different widths from 8 channels, but got [2.0, 2.01]",
        ),
        ("exits.depth", [4], "exits.depth.0: must be less than or equal to 3, but got 4"),
        ("exits.width", 0, "exits.width: must be greater than 0, but got 0"),
        (
            "policy.thresholds.optimise",
            {},
            "policy.thresholds: must have either genes or optimise, but got {",
        ),
        ("policy.thresholds", {}, "policy.thresholds: must have either genes or optimise, but got {}"),
        (
            "policy.thresholds.genes",
            [0.5, 1.5],
            "policy.thresholds.genes.1: must be less than or equal to 1, but got 1.5",
        ),
        (
            "policy.thresholds.genes",
            [],
            "policy.thresholds.genes: must have at least one choice, but got []",
        ),
        ("stages.0.op", ["skip"], "stages.0.op: must have an op besides skip, but got ['skip']"),
        (
            "stages.0.op",
            ["basik"],
            "stages.0.op.0: must be 'basic', 'conv', 'fused_mbconv', 'mbconv', 'sepconv' or 'skip', but got 'basik'",
        ),
        (
            "policy.criterion",
            "luck",
            "policy.criterion: must be 'confidence', 'entropy', 'margin', 'learned', 'patience' or 'dual', "
            "but got 'luck'",
        ),
        (
            "classes",
            "ten",
            "classes: must be a whole number, but got 'ten'",
        ),
        ("stages.0.blocks", [{}, {}, {}], "stages.0.blocks: must have at most 2 entries, the maximum depth, but got 3"),
        ("stages.0.blocks", [{}], "stages.0: must not combine skip and blocks; several depths omit blocks, too, but"),
        ("stages.1.blocks", [{"kernal": 3}], "stages.1.blocks.0.kernal: unknown key, did you mean 'kernel'?"),
        ("stages.1.blocks", [{}, {"kernel": 4}], "stages.1.blocks.1.kernel: kernels must be odd, but got 4"),
        (
            "stages.1.blocks",
            [{}, {"expand": [2, 2.01]}],
            "stages.1.blocks.1.expand: must give different widths from 16 channels, but got [2.0, 2.01]",
        ),
        ("stages.1.se", "yes", "stages.1.se: must be true or false, but got 'yes'"),
        ("stages.1.act", "tanh", "stages.1.act: must be 'hswish' or 'relu', but got 'tanh'"),
        ("exits.pool", "min", "exits.pool: must be 'avg', 'avgmax' or 'max', but got 'min'"),
        ("exits.layer", "add", "exits.layer: must be 'avgpool', 'basic', 'conv', "),
        ("exits.layer", "conv+skip", "exits.layer: must be 'avgpool', 'basic', 'conv', "),
        ("exits.layer", "conv+conv", "exits.layer: a chain must hold different ops (for more of one, give the br"),
        ("exits.layer", "resize+conv", "exits.side: must be given for layer resize+conv, but got nothing"),
        ("exits.sites", {"stage2": {}}, "exits.sites: must be of stage1.block1, stage1, but got 'stage2'"),
        ("exits.sites", {"stage1": {"depth": 9}}, "exits.sites.stage1.depth: must be less than or equal to 3"),
        (
            "exits.sites",
            {"stage1": {"width": [1, 1.01]}},
            "exits.sites.stage1.width: must give different widths from 8 channels, but got [1.0, 1.01]",
        ),
        ("input.resolution", [8, 8], "input.resolution: choices must be distinct, but got [8, 8]"),
        ("input.resolution", [2, 8], "stages.1.kernel: must be at most 3, to fit its 2x2 map at stage2.block1.mbconv"),
        ("stages", [], "stages: must have at least one stage, but got []"),
        ("stages.1.width", GONE, "stages.1.width: this key is required"),
        ("classes", GONE, "classes: required where no data are named to take it from"),
        ("classes", 1, "classes: must be greater than or equal to 2, but got 1"),
    ],
)
def test_the_error_of_a_malformed_space_is_one_line(tmp_path, path, value, line):
    with pytest.raises(UserError) as raised:
        load(tmp_path, changed(path, value))
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'space.yaml'}: {line}")
    assert "\n" not in message


def test_a_stride_larger_than_the_map_is_refused(tmp_path):
    spec = changed("stages.1.kernel", 1) | {"input": {"resolution": 2}, "stem": {"width": 8, "kernel": 1}}
    spec["stages"][0]["kernel"], spec["exits"]["at"] = 1, []
    assert load(tmp_path, spec)
    spec["stages"][1]["stride"] = 4
    with pytest.raises(
        UserError,
        match=r"stages.1.stride: must be at most 2, or nothing is left of its 2x2 map",
    ):
        load(tmp_path, spec)


@pytest.mark.parametrize(
    "text, line",
    [
        ("classes: [1, 2\nstem: {", ", line 2, column 5: must be valid YAML, but got: "),
        (
            "classes: !!python/object/apply:os.getcwd []",
            ", line 1, column 10: must be valid YAML, but got: could not determine",
        ),
        ("", ": must hold a mapping of keys, but got nothing"),
        ("- 1", ": must hold a mapping of keys, but got [1]"),
    ],
)
def test_a_file_that_is_not_a_mapping(tmp_path, text, line):
    with pytest.raises(UserError) as raised:
        load(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'space.yaml'}{line}")
    assert "\n" not in message


def test_a_single_value_may_be_given_for_a_choice():
    spec = deepcopy(VALID)
    spec["exits"]["at"], spec["policy"]["thresholds"] = "stage1", {"genes": 0.5}
    parsed = SpaceSpec.model_validate(spec)
    assert parsed.exits.at == ("stage1",)
    assert parsed.policy.thresholds.genes == (0.5,)


def test_completed_choices_round_trip_through_json(make_small):
    spec = make_small("positions").spec
    assert SpaceSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "written, shape",
    [
        ({"resolution": [8, 16]}, (3, 16, 16)),
        ({"resolution": [8, 16], "image_size": 10}, (3, 10, 10)),
        ({"resolution": ["4x30", "10x10", "6x20"]}, (3, 6, 20)),  # of equal area, the higher one
        ({"resolution": "4x30", "image_size": "96x160", "channels": 7}, (7, 96, 160)),
    ],
)
def test_the_image_size_defaults_to_the_largest_resolution(written, shape):
    assert InputSpec.model_validate(written).shape == shape


def test_every_stage_means_all_stages_except_the_last(digits):
    assert [site.name for site in digits.spec.sites()] == ["stage1", "stage2"]


def test_specs_are_frozen_and_round_trip_through_json(bundled):
    with pytest.raises(ValueError, match="frozen"):
        bundled.spec.classes = 3
    assert SpaceSpec.model_validate_json(bundled.spec.model_dump_json()) == bundled.spec
