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


def test_the_file_is_named_once_by_the_innermost_context():
    refused = pytest.raises(SpecError, match=r"^inner.yaml: supernet.epochs: must be more, but got 0$")
    with refused, in_file("outer.yaml", "elsewhere"), in_file("inner.yaml", "supernet"):
        raise SpecError("epochs", "must be more, but got 0")


def test_paths_are_joined_before_the_file_is_known():
    refused = pytest.raises(SpecError, match=r"^a.yaml: exits.places.stage1: must be there$")
    with refused, in_file("a.yaml"), in_file(None, "exits"), in_file(None, "places.stage1"):
        raise SpecError("", "must be there")


def test_other_errors_pass_unchanged():
    for error in (UserError("as it is"), ValueError("a bug")):
        with pytest.raises(type(error), match=f"^{error}$"), in_file("a.yaml"):
            raise error


def test_a_spec_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(SpecError("seed", "must be more", "a.yaml")))
    assert (type(error), str(error), error.path) == (SpecError, "a.yaml: seed: must be more", "seed")
