"""Classes given by name or by number."""

import pytest

from aebnas.core.errors import SpecError
from aebnas.data.class_names import class_numbers

NAMES = ["cat", "dog", "1", "ship"]


def test_names_and_numbers_give_the_same():
    assert class_numbers({"ship": "b", "cat": "a"}, NAMES) == class_numbers({3: "b", 0: "a"}, NAMES) == {0: "a", 3: "b"}
    assert list(class_numbers({"ship": 1, "cat": 2}, NAMES)) == [0, 3]
    assert class_numbers({"1": 5.0}, NAMES) == class_numbers({2: 5.0}, NAMES) == {2: 5.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shp": 1}, "shp: must be one of the data's classes (cat, dog, 1, ship), but got 'shp', did you mean 'ship'?"),
        ({4: 1}, "4: must be a class's name or number in 0..3, but got 4"),
        ({-1: 1}, "-1: must be a class's name or number in 0..3, but got -1"),
        ({0: 1, "cat": 2}, "cat: must be a class that is given once, but class 'cat' is given twice"),
        (
            {1: 1},
            "1: must be clear, but class 1 is named 'dog', and another class '1'; "
            "data.class_names can give other names",
        ),
    ],
)
def test_unclear_classes_are_refused(given, message):
    with pytest.raises(SpecError) as refused:
        class_numbers(given, NAMES)
    assert str(refused.value) == message


def test_of_many_classes_the_first_are_named():
    with pytest.raises(SpecError, match=r"\(class0, class1, .*, class7, \.\.\.\), but got 'cat'"):
        class_numbers({"cat": 1}, [f"class{number}" for number in range(1000)])
