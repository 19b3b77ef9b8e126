import pickle

import pytest

from aebnas.core.errors import SpecError, UserError, in_file


@pytest.mark.parametrize(
    "text, shown",
    [("two\nlines", r"two\nlines"), ("\x1b[31mred", r"\x1b[31mred"), ("'é' \\n", "'é' \\n"), ("a\0b", r"a\x00b")],
)
def test_a_message_is_one_line_whatever_it_quotes(text, shown):
    assert str(UserError(text)) == shown
    assert str(SpecError("key", text, "a.yaml")) == f"a.yaml: key: {shown}"


def test_the_file_is_named_once_and_by_whoever_knows_it_first():
    told = pytest.raises(SpecError, match=r"^inner.yaml: supernet.epochs: must be more, but got 0$")
    with told, in_file("outer.yaml", "elsewhere"), in_file("inner.yaml", "supernet"):
        raise SpecError("epochs", "must be more, but got 0")


def test_places_are_put_together_before_the_file_is_known():
    told = pytest.raises(SpecError, match=r"^a.yaml: exits.places.stage1: must be there$")
    with told, in_file("a.yaml"), in_file(None, "exits"), in_file(None, "places.stage1"):
        raise SpecError("", "must be there")


def test_other_errors_pass_as_they_are():
    for error in (UserError("as it is"), ValueError("a bug")):
        with pytest.raises(type(error), match=f"^{error}$"), in_file("a.yaml"):
            raise error


def test_it_comes_back_from_another_process_as_it_was():
    error = pickle.loads(pickle.dumps(SpecError("seed", "must be more", "a.yaml")))
    assert (type(error), str(error), error.path) == (SpecError, "a.yaml: seed: must be more", "seed")
