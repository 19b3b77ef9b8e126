"""The spec of a strategy."""

import subprocess
import sys

import pytest

from aebnas.core.errors import UserError
from aebnas.core.spec_base import parse_spec
from aebnas.strategies.strategy_spec import StrategySpec


def test_defaults_are_aebnas_settings():
    spec = StrategySpec()
    assert (spec.name, spec.population, spec.generations, spec.crossover_prob) == ("nsga2", 40, 20, 0.9)
    assert spec.evaluations == 800


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"population": 3}, "population: .* greater than or equal to 4, but got 3"),
        ({"generations": 0}, "generations: .* greater than or equal to 1, but got 0"),
        ({"name": "nsga3"}, "name: .*'random', 'nsga2' or 'adaptive_darts', but got 'nsga3'"),
        ({"crossover_prob": 1.5}, "crossover_prob: .* less than or equal to 1, but got 1.5"),
        ({"mutation_prob": 0}, "mutation_prob: .* greater than 0, but got 0"),
        ({"populaton": 10}, "populaton: unknown key, did you mean 'population'"),
    ],
)
def test_mistakes_are_named(value, message):
    with pytest.raises(UserError, match=message):
        parse_spec(StrategySpec, value, "spec.yaml")


def test_reading_a_spec_does_not_import_pymoo():
    code = "import sys, aebnas.strategies.strategy_spec; sys.exit('pymoo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
