"""The package as users get it: its public names, what importing it loads, and the wheel elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dhflow

ROOT = Path(__file__).parents[1]

PUBLIC_NAMES = [
    "Budget",
    "Categorical",
    "Comparison",
    "Constant",
    "DhflowError",
    "Float",
    "Integer",
    "Normal",
    "Ordinal",
    "Problem",
    "Result",
    "SearchSpace",
    "Searcher",
    "Study",
    "Trial",
    "TrialContext",
    "TrialStatus",
    "__version__",
    "compare",
    "keep_models",
    "load",
    "load_site",
    "retrain",
    "search",
    "search_app",
]

HEAVY = [
    "parsl",
    "tensorflow",
    "keras",
    "matplotlib",
    "h5py",
    "sklearn",
    "scipy",
    "pandas",
    "globus_compute_sdk",
    "rich",
]

PROBLEM = """
from dhflow import Float, Problem, SearchSpace

def objective(config, trial):
    import dhflow
    trial.report(1, x=config["x"])
    return {"objective": (config["x"] - 1) ** 2, "package": dhflow.__file__}

problem = Problem(SearchSpace({"x": Float(-2.0, 2.0)}), objective, defaults={"x": 2.0})
"""

LOOK = """
import json
import dhflow

result = dhflow.load("h.h5")
print(json.dumps([dhflow.__file__, result.summary(), [dict(each.metrics) for each in result]]))
"""


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Run a command in a folder and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def loaded_by(code: str, tmp_path: Path) -> list[str]:
    """Return the heavy packages that some code loads in a fresh process."""
    script = f"import sys\n{code}\nprint([each for each in {HEAVY!r} if each in sys.modules])"
    return json.loads(run([sys.executable, "-c", script], tmp_path, PYTHONPATH=str(ROOT)).replace("'", '"'))


def test_public_names_are_pinned():
    assert sorted(dhflow.__all__) == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_name_is_there(name: str):
    assert getattr(dhflow, name) is not None
    assert name in dir(dhflow)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'dhflow' has no attribute 'Trail'"):
        _ = dhflow.Trail


def test_import_loads_nothing_heavy(tmp_path: Path):
    assert loaded_by("import dhflow", tmp_path) == []


def test_a_space_loads_nothing_heavy(tmp_path: Path):
    assert set(loaded_by("from dhflow import Float, SearchSpace, Study, search", tmp_path)) <= {"scipy"}


def test_what_a_worker_loads_is_light(tmp_path: Path):
    assert loaded_by("from dhflow.train import evaluate, Task", tmp_path) == []


def test_version_is_the_metadatas():
    from importlib import metadata

    assert metadata.version("dhflow") == dhflow.__version__


def test_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert f"## [{dhflow.__version__}]" in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    pytest.importorskip("build", reason="the package 'build' is not installed")
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)], out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel, without its dependencies: those are this interpreter's."""
    target = tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "--no-index", "--target", str(target), str(wheel)], target)
    return target


def test_the_wheel_holds_what_it_needs(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    for each in (
        "dhflow/py.typed",
        "dhflow/site_configs/laptop.py",
        "dhflow/site_configs/_block.py",
        "dhflow/site_configs/globus_endpoint/user_config_template.yaml.j2",
        "dhflow/site_configs/globus_endpoint/user_config_schema.json",
        "dhflow/history/FORMAT.md",
    ):
        assert each in names
    tops = {each.partition("/")[0] for each in names}
    assert tops == {"dhflow", f"dhflow-{dhflow.__version__}.dist-info"}


@pytest.mark.integration
def test_the_wheel_searches_in_an_empty_folder(installed: Path, tmp_path: Path):
    (tmp_path / "problem.py").write_text(PROBLEM)
    options = "--site laptop --site-set workers=2 --searcher random --seed 1 --max-trials 6 --history h.h5"
    command = [str(installed / "bin" / "dhflow"), "search", "problem.py", *options.split()]
    run(command, tmp_path, PYTHONPATH=str(installed))
    file, summary, metrics = json.loads(run([sys.executable, "-c", LOOK], tmp_path, PYTHONPATH=str(installed)))
    assert file.startswith(str(installed))
    assert summary["completed"] == 6
    assert summary["best"] < 1.0  # the default's
    assert {each["package"] for each in metrics} == {file}
