"""The height and width of an image or a map, as one value: in YAML and JSON `32`, or `96x160` (height x width)."""

import re
from functools import total_ordering
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MAX_SIDE = 8192
PATTERN = r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}"
RULE = f"must be pixels a side from 1 to {MAX_SIDE}, such as 32, or height x width, such as 96x160"


@total_ordering
class Resolution:
    """A height and a width, in pixels; ordered by area, then by height.

    Pydantic reads it from a number (a square) or text such as `96x160`; a square is written as a number, so that
    files and ids of architectures from when there were only squares stay as they are. Not a dataclass, which pydantic
    would take apart.
    """

    def __init__(self, height: int, width: int) -> None:
        self._sides = (height, width)

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self._sides[0]

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self._sides[1]

    @classmethod
    def of(cls, value: object) -> "Resolution":
        """From a number, text or a Resolution; raises ValueError for anything else."""
        match value:
            case Resolution():
                return value
            case int() if not isinstance(value, bool):
                height = width = value
            case str() if re.fullmatch(PATTERN, value):
                height, width = map(int, value.split("x"))
            case _:
                raise ValueError(RULE)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise ValueError(RULE)
        return cls(height, width)

    @property
    def square(self) -> bool:
        """Whether height and width are equal."""
        return self.height == self.width

    @property
    def attr(self) -> int | tuple[int, int]:
        """As an op's attribute: pixels a side of a square, else (height, width)."""
        return self.height if self.square else (self.height, self.width)

    def to_json(self) -> int | str:
        """As in JSON and YAML."""
        return self.height if self.square else str(self)

    def __str__(self) -> str:
        return f"{self.height}" if self.square else f"{self.height}x{self.width}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resolution) and self._sides == other._sides

    def __hash__(self) -> int:
        return hash(self._sides)

    def __lt__(self, other: "Resolution") -> bool:
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[int, int]:
        return self.height * self.width, self.height

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(cls.to_json, when_used="json")
        return core_schema.no_info_plain_validator_function(cls.of, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        side = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE}
        return {"anyOf": [side, {"type": "string", "pattern": f"^{PATTERN}$"}]}
