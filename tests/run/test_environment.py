import json
import platform
import re

import pytest
from tiny_run import own_copy, searched

from aebnas.run.environment import write_environment
from aebnas.run.session import RunSession

FILES = ("env_info.json", "pip_freeze.txt", "protocol.json")
USER, HOST, REGISTRY = "alice-lovelace", "secret-host.example.org", "pypi.internal.example.org"


@pytest.fixture
def elsewhere(tmp_path, tmp_path_factory, monkeypatch):
    """A run on another machine: of another user, host and home, with packages from other sources."""
    home = tmp_path / "home" / USER
    monkeypatch.setattr(platform, "node", lambda: HOST)
    monkeypatch.setattr(platform, "release", lambda: f"6.1.0-{HOST}+{USER}")
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.setattr("getpass.getuser", lambda: USER)
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HOSTNAME", HOST)
    monkeypatch.setenv("PIP_INDEX_URL", f"https://{USER}@{REGISTRY}/simple")
    for name, url in {"editable": f"file://{home}/src/editable", "fetched": f"https://{REGISTRY}/fetched.whl"}.items():
        info = home / "site" / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\nAuthor: {USER}\n")
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))
    monkeypatch.syspath_prepend(str(home / "site"))
    run = own_copy(searched(tmp_path_factory), home)
    for name in FILES:
        (run / name).unlink()
    write_environment(RunSession.open(run))
    return run


def test_no_user_host_path_or_registry_is_reported(elsewhere):
    for name in FILES:
        text = (elsewhere / name).read_text(encoding="utf-8")
        for trace in (USER, HOST, REGISTRY, str(elsewhere.parent), "file:", "http"):
            assert trace not in text, (name, trace)
    frozen = (elsewhere / "pip_freeze.txt").read_text().splitlines()
    assert {"editable==1.2", "fetched==1.2"} <= set(frozen)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^\s/@]+", line) for line in frozen)


def test_versions_and_hardware_are_reported(elsewhere):
    reported = json.loads((elsewhere / "env_info.json").read_text())
    assert reported["python"] == platform.python_version() and reported["libraries"]["torch"]
    assert reported["processor"] and reported["memory_gib"] > 0
    assert 1 <= reported["cores_usable"] <= reported["cores"]
    assert reported["system"].endswith(f"{platform.system()} 6.1.0")


def test_the_protocol_records_whether_the_run_is_deterministic(elsewhere):
    protocol = json.loads((elsewhere / "protocol.json").read_text())
    assert (protocol["deterministic"], protocol["training_threads"]) == (False, None)
