"""Sizes of images and maps: a side, or height x width."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from aebnas.core.resolution import MAX_SIDE, Resolution

SIDES = st.integers(1, MAX_SIDE)


class Holder(BaseModel):
    size: Resolution


@given(SIDES, SIDES)
def test_every_size_is_read_as_written(height, width):
    size = Resolution(height, width)
    assert Resolution.of(f"{height}x{width}") == size
    assert Resolution.of(size.to_json()) == size
    holder = Holder(size=size)
    assert Holder.model_validate_json(holder.model_dump_json()) == holder
    assert Holder.model_validate(holder.model_dump()) == holder
    assert pickle.loads(pickle.dumps(size)) == copy.deepcopy(size) == size


def test_a_square_is_one_number_in_files():
    for written in (32, "32x32"):
        holder = Holder.model_validate({"size": written})
        assert json.loads(holder.model_dump_json()) == {"size": 32}
        assert (holder.size.attr, str(holder.size), holder.size.square) == (32, "32", True)
    wide = Holder.model_validate({"size": "96x160"})
    assert json.loads(wide.model_dump_json()) == {"size": "96x160"}
    assert (wide.size.height, wide.size.width, wide.size.attr) == (96, 160, (96, 160))


REFUSED = ["32", "0x5", "5x0", "x", "3x", "3x4x5", "3 x 4", "3X4", "-3x4", "9999x1", "١x٢", "12x20\n"]


@pytest.mark.parametrize("written", [0, -1, MAX_SIDE + 1, True, 1.5, None, [3, 4], {"height": 3, "width": 4}, *REFUSED])
def test_everything_else_is_refused(written):
    with pytest.raises(ValidationError, match=r"must be pixels a side from 1 to 8192, such as 32, or height x width"):
        Holder.model_validate({"size": written})


@given(st.lists(st.builds(Resolution, st.integers(1, 9), st.integers(1, 9)), min_size=2))
def test_the_largest_has_the_largest_area(sizes):
    assert max(size.height * size.width for size in sizes) == max(sizes).height * max(sizes).width


def test_editors_know_both_forms():
    schema = TypeAdapter(Resolution).json_schema()
    assert [form["type"] for form in schema["anyOf"]] == ["integer", "string"]
