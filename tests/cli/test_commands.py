import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import SPACE, own_copy, searched, write_spec
from typer.testing import CliRunner

from aebnas.cli.main import app, main
from aebnas.core.confidence_intervals import wilson
from aebnas.core.errors import UserError
from aebnas.core.yaml_reader import read_yaml
from aebnas.cost.bounds.space_bounds import space_bounds
from aebnas.run.session import RunSession
from aebnas.selected.evaluate import evaluate
from aebnas.space.genome import SearchSpace
from aebnas.space.size import count_architectures

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "search_spaces" / "digits_tiny.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that the commands may add picks to."""
    return own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("cli"))


def invoke(*arguments) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def call(capsys):
    """The function that runs `main` and gives (exit code, standard output, standard error)."""

    def run_main(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main([*map(str, arguments)])
        return leaving.value.code, *capsys.readouterr()

    return run_main


@pytest.mark.parametrize(
    "arguments, expected_message",
    [
        (["search", "none.yaml"], "none.yaml: no such file"),
        (
            ["space", "none.yaml"],
            "space: must be the file of a search space, but 'none.yaml' doesn't exist; bundled",
        ),
        (["space", "resnet_cifer"], ", did you mean 'resnet_cifar'?"),
        (["profile", "resnet_cifer"], ", did you mean 'resnet_cifar'?"),
        (["schema", "spaces"], "schema must be one of space, experiment, but got 'spaces'"),
        (["show", "."], "is not a run folder"),
        (["retrain", ".", "--pick", "knee"], "is not a run folder"),
        (["retrain", ".", "--pick", "knee", "--weights", "none"], "--weights must be supernet, scratch or kept"),
        (["evaluate", "none", "--pick", "knee"], "none: is not a run folder"),
        (["export", ".", "--pick", "knee", "--out", "out"], "is not a run folder"),
        (["list"], "results: must be a folder of runs, but doesn't exist"),
        (["compare", "none"], "must be given two or more runs, but got 1"),
        (["compare", "none", "neither"], "none: is not a run folder"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(call, tmp_path, monkeypatch, arguments, expected_message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and expected_message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_spec_names_file_place_and_value(call, tmp_path):
    spec = write_spec(tmp_path, supernet={"epochs": 0})
    code, _, err = call("search", spec, "--out", tmp_path / "run")
    assert code == 2
    assert err == f"error: {spec}: supernet.epochs: must be greater than or equal to 1, but got 0\n"


def test_debug_shows_the_traceback():
    with pytest.raises(UserError, match="none: is not a run folder"):
        main(["--debug", "show", "none"])


def test_a_usage_error_exits_with_2(call):
    code, _, err = call("retrain", "run")
    assert code == 2 and "--pick" in err


def test_the_command_itself(tmp_path):
    """Through a new process: the exit code and the stream that a shell sees."""
    code = "import sys; from aebnas.cli.main import main; sys.argv = ['aebnas', 'schema', 'nothing']; main()"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: schema must be one of space, experiment, but got 'nothing'\n"


COMMANDS = ("init", "search", "resume", "show", "list", "compare", "space", "schema", "retrain", "evaluate", "export")


def test_help_lists_the_commands():
    listed = invoke("--help")
    assert all(name in listed for name in COMMANDS)


def test_a_space_is_printed_with_its_size_and_bounds():
    space = SearchSpace.load(DIGITS)
    printed = invoke("space", DIGITS, "--samples", 2)
    macs, params = (space_bounds(space.spec, lambda c, name=name: getattr(c, name)) for name in ("macs", "params"))
    assert f"{count_architectures(space.spec):,}" in printed
    assert f"{macs.lower:,} to {macs.upper:,}" in printed and f"{macs.first_exit:,}" in printed
    assert f"{params.lower:,} to {params.upper:,}" in printed
    assert sum(line.startswith("  sample ") for line in printed.splitlines()) == 2


def test_a_bundled_space_has_a_name():
    by_name, by_file = (invoke("space", space).partition("\n") for space in ("digits_tiny", DIGITS))
    assert by_name[0] == "digits_tiny" and by_name[2] == by_file[2]


def test_a_space_takes_what_it_leaves_out_from_the_data_of_an_experiment(call, tmp_path):
    left_out = {key: value for key, value in SPACE.items() if key not in ("input", "classes")}
    whole, spec = write_spec(tmp_path / "whole").parent / "space.yaml", write_spec(tmp_path / "left_out", left_out)
    space = spec.parent / "space.yaml"
    assert invoke("space", space, "--spec", spec).partition("\n")[2] == invoke("space", whole).partition("\n")[2]
    for command in ("space", "profile"):
        code, out, err = call(command, space)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {space}: input.resolution and classes: required where no data are named")
    emitted = invoke("profile", space, "--spec", spec, "--networks", 0, "--emit", tmp_path / "job")
    assert f"aebnas profile {space} --spec {spec} --import result.json" in emitted


def test_samples_follow_the_seed():
    a, b, c = (invoke("space", DIGITS, "--seed", seed) for seed in (1, 1, 2))
    assert a == b != c


@pytest.mark.parametrize("of, folder", [("space", "search_spaces"), ("experiment", "experiments")])
def test_the_schema_accepts_the_bundled_files(of, folder):
    jsonschema = pytest.importorskip("jsonschema")  # comes with Ray
    validator = jsonschema.Draft202012Validator(json.loads(invoke("schema", of)))
    validator.check_schema(validator.schema)
    files = sorted((ROOT / folder).glob("*.yaml"))
    assert files
    for file in files:
        value = read_yaml(file)
        assert [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(value)] == []
        assert not validator.is_valid(value | {"unknown": 1})


def test_the_front_is_shown_with_exit_shares(run):
    shown = invoke("show", run)
    for _, point in RunSession.open(run).front():
        (line,) = [line for line in shown.splitlines() if point.id in line]
        assert f"{100 * point.metrics['accuracy']:.2f}%" in line
        assert all(f"{100 * share:.0f}%" in line for share in point.exit_shares)
    assert "N = 287" in shown


def test_a_run_is_shown_while_its_first_generation_runs(tmp_path_factory, tmp_path):
    copy = own_copy(searched(tmp_path_factory), tmp_path)
    for name in ("pareto.csv", "pareto.json", "summary.json"):
        (copy / name).unlink()
    assert "operating points on the front" in invoke("show", copy)
    (copy / "trials.jsonl").unlink()
    assert "no feasible operating point yet (0 trials)" in invoke("show", copy)


def test_from_spec_to_model(tmp_path_factory, tmp_path):
    """The commands in sequence, by their output; the search is a finished one that is repeated."""
    copy = own_copy(searched(tmp_path_factory), tmp_path)
    searched_again = invoke("search", copy.parent / "spec" / "tiny.yaml", "--out", copy)
    assert f"{copy}/pareto.csv" in searched_again
    front = RunSession.open(copy).front()
    middle = sorted(point.metrics["avg_macs"] for _, point in front)[len(front) // 2]
    expected = max((p for _, p in front if p.metrics["avg_macs"] <= middle), key=lambda p: p.metrics["accuracy"])
    rule = f"avg_macs <= {middle}"
    retrained = invoke("retrain", copy, "--pick", rule, "--epochs", 1, "--weights", "scratch")
    assert retrained.startswith(f"{expected.id}, retrained")
    evaluated = invoke("evaluate", copy, "--pick", expected.id[:-1])
    assert evaluated.startswith(f"{expected.id} on the test set (N = 360)")
    assert "weights, policy  retrained for 1 epochs from scratch" in evaluated
    exported = invoke("export", copy, "--pick", rule, "--out", tmp_path / "out")
    assert exported.startswith(f"{expected.id} is in ") and (tmp_path / "out" / "model.py").exists()


def test_accuracies_are_shown_with_their_intervals(run):
    _, point = RunSession.open(run).pick("best-accuracy")
    low, high = (100 * bound for bound in wilson(point.metrics["accuracy"], 287))
    assert f"{100 * point.metrics['accuracy']:.2f}% ({low:.1f}-{high:.1f})" in invoke("show", run)
    measured = evaluate(run, point.id)
    low, high = (100 * bound for bound in wilson(measured.point.metrics["accuracy"], 360))
    shown_text = invoke("evaluate", run, "--pick", point.id)
    assert f" % (95 %: {low:.2f} to {high:.2f}); top-5" in shown_text
    assert f"{100 * measured.optimism['difference']:+.2f} points (95 %: " in shown_text


@pytest.mark.parametrize("rule, best", [("best-accuracy", "accuracy"), ("cheapest", "avg_macs")])
def test_picks_by_rule(run, rule, best):
    points = [point for _, point in RunSession.open(run).front()]
    sign = -1 if best == "accuracy" else 1
    expected = min(points, key=lambda point: sign * point.metrics[best])
    assert invoke("evaluate", run, "--pick", rule).startswith(f"{expected.id} on the test set")


def test_failed_trials_are_reported_with_a_reason_and_phases_with_their_time(tmp_path_factory, tmp_path):
    copy = own_copy(searched(tmp_path_factory), tmp_path)
    first, *rest = (copy / "trials.jsonl").read_text().splitlines()
    changed = json.loads(first) | {"status": "failed", "points": [], "reason": "RuntimeError: made up"}
    (copy / "trials.jsonl").write_text("\n".join([json.dumps(changed), *rest]) + "\n")
    shown = invoke("show", copy)
    assert "1 of 8 trials failed; the first (number 0): RuntimeError: made up" in shown
    assert "seconds: supernet" in shown and "search" in shown


def test_an_evaluation_fits_one_screen_and_full_adds_the_tables(run):
    """The essential in 40 lines of 100 columns; long tables with --full, that of budgets with --budgets."""
    lines = invoke("evaluate", run, "--pick", "best-accuracy").splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for part in (
        "accuracy ",
        "average macs",
        "ECE",
        "without temperatures)",
        "weights, policy",
        "temperature",
    ):
        assert part in text
    assert "at budgets" not in text
    assert "at budgets" in invoke("evaluate", run, "--pick", "best-accuracy", "--budgets", "5e4")
    full = invoke("evaluate", run, "--pick", "best-accuracy", "--full")
    for title in (
        "cost per sample",
        "at budgets",
        "requests at random times",
        "corrupted images",
        "out-of-distribution",
    ):
        assert title in full


def test_a_front_fits_one_screen_unless_all_of_it_is_asked_for(run, tmp_path):
    """A recorded search with a large front: the ends stay, what is left out is reported, --full lists every point."""
    copy = own_copy(run, tmp_path)
    lines = (copy / "trials.jsonl").read_text().splitlines()
    trial = json.loads(lines[-1])
    points = []
    for step in range(60):  # each a little more accurate and dearer than the last, none dominated
        point = json.loads(json.dumps(trial["points"][0]))
        point["metrics"] |= {"accuracy": 0.3 + step / 100, "avg_macs": 1e3 + step, "avg_macs_taken_only": 1e3 + step}
        point["policy"]["thresholds"] = [step / 100 for _ in point["policy"]["thresholds"]]
        points.append(point)
    (copy / "trials.jsonl").write_text("\n".join([*lines[:-1], json.dumps(trial | {"points": points})]) + "\n")
    shown, full = invoke("show", copy).splitlines(), invoke("show", copy, "--full")
    ids = [point.id for _, point in RunSession.open(copy).front()]
    assert len(ids) > 50 and len(shown) <= 40
    assert max(map(len, shown[1:])) <= 100  # the first line names the folder
    assert any(line.strip().startswith(ids[0]) for line in shown) and any(ids[-1] in line for line in shown)
    assert f"24 of {len(ids)} points" in "\n".join(shown) and all(point_id in full for point_id in ids)


def test_printed_commands_can_be_given_to_a_shell(tmp_path):
    """Whatever the folders are called."""
    spec, folder, out = write_spec(tmp_path / "a spec"), tmp_path / "a run's $HOME", tmp_path / "an export; ls"
    said = invoke("search", spec, "--out", folder)
    [line] = [line for line in said.splitlines() if line.startswith("Next: ")]
    words = shlex.split(line.partition("Next: ")[2])
    assert words[:3] == ["aebnas", "evaluate", str(folder)] and words[-6:-4] == ["export", str(folder)]
    said = invoke("export", folder, "--pick", "knee", "--out", out)
    assert shlex.split(said.partition("try: ")[2]) == ["python", str(out / "model.py"), "--check"]
    space = tmp_path / "a spec" / "space.yaml"
    said = invoke("profile", space, "--emit", tmp_path / "job", "--networks", 0, "--max-layers", 20, "--out", out)
    assert shlex.split(said.rpartition(", then ")[2]) == ["aebnas", "profile", str(space), "--import", "result.json"]
