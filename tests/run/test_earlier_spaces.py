"""Runs whose `config.json` spells the space's fields as version 0.1 did."""

import json

import pytest
from tiny_run import own_copy, searched

from aebnas.run.session import RunSession
from aebnas.space.spec import SpaceSpec


@pytest.mark.parametrize("earlier", ["picture", "image_side"])
def test_the_earlier_names_of_sites_and_image_size_are_read(tmp_path_factory, tmp_path, earlier):
    run = own_copy(searched(tmp_path_factory), tmp_path)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    one = config["space"]["exits"] | {"depth": [1], "at": ["stage1"]}
    for key in ("sites", "boosted"):  # they aren't of a single site
        one.pop(key)
    config["space"]["exits"] |= {"at": ["stage1"], "sites": {"stage1": {k: v for k, v in one.items() if k != "at"}}}
    present = SpaceSpec.model_validate(config["space"])
    config["space"]["exits"]["places"] = config["space"]["exits"].pop("sites")
    config["space"]["input"][earlier] = config["space"]["input"].pop("image_size")
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    opened = RunSession.open(run).space.spec
    assert opened == present and opened.exits.sites["stage1"].depth == (1,)
