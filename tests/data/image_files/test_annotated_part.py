"""A test part as Tiny-ImageNet has it; `test_listing.py` has the other layouts."""

from pathlib import Path

from test_listing import classes, lists, touch, with_labels

TRAIN = classes(2, "train/n1/images", "train/n2/images")


def annotate(base: Path, text: str) -> None:
    (base / "set/val/val_annotations.txt").write_text(text, encoding="utf-8")


def test_classes_are_those_of_the_annotations(tmp_path: Path) -> None:
    """Images that aren't named are left out, as are the images of `test`, which have no labels."""
    touch(tmp_path, *TRAIN, *classes(3, "val/images", "test/images"), "train/n1/n1_boxes.txt", "words.txt")
    annotate(tmp_path, "1.png\tn1\t0\t32\t44\t62\r\n0.png\tn2\t0\t0\t1\t1\n")
    train, test = lists(tmp_path)
    assert train.class_names == ("n1", "n2") and [*train.labels] == [0, 0, 1, 1]
    assert with_labels(test) == ["1 val/images/0.png", "0 val/images/1.png"]
    assert [*train.notes] == ["val is the test set, since test has no folders of classes"]
    assert train.left_out == {
        "file(s) that are not of an image format (.txt)": 1,
        "image(s) that val_annotations.txt doesn't name": 1,
    }


def test_folders_of_classes_go_before_annotations(tmp_path: Path) -> None:
    """As where the images of `val` were sorted, and its annotations stayed."""
    touch(tmp_path, *TRAIN, *classes(1, "val/n1/images", "val/n2/images"), *classes(3, "test/images"))
    annotate(tmp_path, "gone.png\tn1\n")
    _, test = lists(tmp_path)
    assert with_labels(test) == ["0 val/n1/images/0.png", "1 val/n2/images/0.png"]


def test_a_class_may_be_called_images(tmp_path: Path) -> None:
    touch(tmp_path, *classes(2, "train/images", "train/other", "test/images", "val/other"))
    train, test = lists(tmp_path)
    assert with_labels(test) == ["0 test/images/0.png", "0 test/images/1.png"]
    assert "val is not read, since test is the test set" in train.notes
