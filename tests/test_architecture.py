"""The walls between the rooms (docs/decisions/0001-layout.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("training", "evaluation", "serving")
MAY_IMPORT_STAGES = {
    "stalkscreen/cli.py",
    "stalkscreen/demo.py",
    *(f"stalkscreen/workflow/{name}.py" for name in ("evaluating", "label_review", "training")),
}
SOURCES = sorted(p for package in ("stalkscreen", *STAGES) for p in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_stages_are_imported_only_from_above_and_never_import_each_other(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    allowed = set(STAGES) if where in MAY_IMPORT_STAGES else {where.split("/")[0]}
    used = {name.split(".")[0] for name in imported(path)} & set(STAGES)
    assert used <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is_and_is_not_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= 470


def loads(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_service_loads_no_heavy_library() -> None:
    assert not loads("import serving.service") & {"mlflow", "torch", "pandas", "training", "transformers", "spacy"}


def test_loading_a_linear_model_and_assessing_loads_no_torch_spacy_or_mlflow(model_folder: Path) -> None:
    statement = (
        "from pathlib import Path; from stalkscreen.model import ScreeningModel; "
        "from stalkscreen.schema import Case, Incident; "
        f"ScreeningModel.load(Path({str(model_folder)!r})).assess([Case.of_one(Incident(incident_id='a', narrative='b'))])"
    )
    assert not loads(statement) & {"mlflow", "torch", "training", "transformers", "spacy", "bentoml"}


def test_help_imports_nothing_heavy_and_answers_quickly() -> None:
    assert not loads("import stalkscreen.cli") & {
        "mlflow",
        "torch",
        "sklearn",
        "pandas",
        "spacy",
        "bentoml",
        "pydantic",
    }
    began = time.process_time()
    done = subprocess.run(
        [sys.executable, "-m", "stalkscreen.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "Screen incident narratives" in done.stdout
    assert time.process_time() - began < 5


def test_models_and_data_hold_no_python_and_tests_are_no_package() -> None:
    assert not [p for folder in ("models", "data") for p in (ROOT / folder).rglob("*.py")]
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_modules_have_telling_names() -> None:
    assert not {p.name for p in SOURCES} & {"utils.py", "helpers.py", "main.py", "common.py", "misc.py"}


def test_the_constraints_pin_every_direct_dependency_and_no_cuda() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    for requirement in wanted:
        name = requirement.replace("<", ">").replace("=", ">").split(">")[0].strip()
        assert name in pins, name
    assert not [p for p in pins if p.startswith("nvidia-") and p != "nvidia-ml-py"]
    assert not any("+" in version for version in pins.values())
