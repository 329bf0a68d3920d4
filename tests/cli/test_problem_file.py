from __future__ import annotations

from pathlib import Path

import pytest

from dhflow.cli.problem import Reference, find_again, load_problem, warn_if_changed
from dhflow.errors import ExecutionError, SearchError


@pytest.mark.parametrize(
    ("text", "name", "stem"),
    [("a/digits.py", "problem", "digits"), ("digits.py:other", "other", "digits"), ("./x.y.py", "problem", "x.y")],
)
def test_a_file_is_named_with_or_without_its_variable(text: str, name: str, stem: str) -> None:
    reference = Reference.parse(text)
    assert (reference.name, reference.stem, reference.module) == (name, stem, "")
    assert Path(reference.file).is_absolute()


def test_a_module_needs_its_variable_s_name() -> None:
    reference = Reference.parse("my.package.digits:search_me")
    assert (reference.module, reference.name, reference.stem) == ("my.package.digits", "search_me", "digits")
    assert str(reference) == "my.package.digits:search_me"


@pytest.mark.parametrize("text", ["a b", "digits.txt", "1:2", "", "digits.py:", "-x:y"])
def test_what_is_no_problem_is_refused(text: str) -> None:
    with pytest.raises(SearchError, match="is no problem"):
        load_problem(Reference.parse(text))


def test_the_reference_survives_json() -> None:
    for reference in (Reference("a", "/x/y.py", "", "00ff"), Reference("b", "", "m.n", "")):
        assert Reference.from_json({**reference.to_json(), "of a newer version": 1}) == reference


def test_loading_a_file_gives_the_problem_and_its_hash(folder: Path) -> None:
    problem, reference = load_problem(Reference.parse("digits.py"))
    assert problem.space.names[0] == "learning_rate"
    assert len(reference.sha256) == 64
    assert str(reference) == "digits.py"


def test_a_module_is_found_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (folder / "some_module_of_mine.py").write_text((folder / "digits.py").read_text())
    monkeypatch.setattr(sys, "path", [*sys.path])
    problem, reference = load_problem(Reference.parse("some_module_of_mine:problem"))
    assert "layers" in problem.space
    assert reference.sha256
    monkeypatch.delitem(sys.modules, "some_module_of_mine")


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(SearchError, match=r"no problem 'other'; it has: problem \(say .*digits.py:problem\)"):
        load_problem(Reference.parse("digits.py:other"))
    (folder / "empty.py").write_text("problem = 3\n")
    with pytest.raises(SearchError, match=r"is a int, not a dhflow\.Problem"):
        load_problem(Reference.parse("empty.py"))
    (folder / "empty.py").write_text("")
    with pytest.raises(SearchError, match="it needs a line such as problem = Problem"):
        load_problem(Reference.parse("empty.py"))
    with pytest.raises(ExecutionError, match="there is no file"):
        load_problem(Reference.parse("nowhere.py"))
    with pytest.raises(ExecutionError, match="no module 'nowhere_at_all'"):
        load_problem(Reference.parse("nowhere_at_all.deep:problem"))


def test_a_file_that_fails_says_the_line(folder: Path) -> None:
    (folder / "broken.py").write_text("x = 1\nimport nothing_such\n")
    with pytest.raises(ExecutionError, match=r"nothing_such.*broken\.py:2"):
        load_problem(Reference.parse("broken.py"))


def test_a_file_that_moved_with_its_history_is_found(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "moved.py").touch()
    gone = Reference(file="/nowhere/moved.py", sha256="00")
    found = find_again(gone, elsewhere / "h.h5")
    assert found is not None
    assert (found.file, found.sha256) == (str(elsewhere / "moved.py"), "00")
    assert find_again(Reference(file="/nowhere/at_all.py"), elsewhere / "h.h5") is None
    assert find_again(Reference(), elsewhere / "h.h5") is None
    module = Reference(module="a.b")
    assert find_again(module, elsewhere / "h.h5") == module


def test_a_changed_file_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    before, now = Reference(file="/x/p.py", sha256="aa"), Reference(file="/x/p.py", sha256="bb")
    warn_if_changed(before, before)
    warn_if_changed(Reference(), now)
    assert capsys.readouterr().err == ""
    warn_if_changed(before, now)
    assert "/x/p.py has changed since the last session" in capsys.readouterr().err
