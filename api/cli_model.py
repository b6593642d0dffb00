"""`dosewright model`: fit a process model, and take it through its life from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from api import completions
from api.cli_options import AlwaysJson, AsJson, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from audit.canonical import canonical
from audit.release.model_testing import read_data_set
from audit.release.process_models import read_plan
from recipes.figures import read_toml

app = typer.Typer(help="Process models: fit, test, sign, watch.", no_args_is_help=True, rich_markup_mode=None)

_URL = "http://127.0.0.1:8080"
_LARGEST = 16 * 1024 * 1024
Model = Annotated[str, typer.Argument(help="Model version, for example nir-strength@1.", autocompletion=completions.models)]
Why = Annotated[str, typer.Option("--reason", help="Why; it stands in the record.")]
Data = Annotated[Path, typer.Argument(help="A data set (JSON, dosewright-data/1).", autocompletion=completions.json_files)]


@app.command("fit")
def fit(
    plan: Annotated[Path, typer.Argument(help="The plan of the model, a TOML file.", autocompletion=completions.toml_files)],
    data: Data,
    out: Annotated[Path, typer.Option(help="Where to write the definition.")],
    as_json: AsJson = False,
) -> None:
    """Fit a model from its plan and a training set, and write its definition; needs the extra `models` (scikit-learn)."""
    try:
        from api.model_fitting import fit_model  # a model in use needs no scikit-learn
    except ImportError as error:
        raise InputInvalid(f"Fitting needs the extra `models`: {error}.", remedy="Install dosewright[models].") from error
    found = fit_model(read_plan(read_toml(_bytes(plan), plan.name), plan.name), read_data_set(_json(data), data.name))
    try:
        out.write_bytes(canonical(found.as_record()))
    except OSError as error:
        raise InputInvalid(f"{out} cannot be written: {error.strerror}.", remedy="Name a file in a folder that you may write.") from None
    if as_json:
        print_json({"model": found.reference, "digest": found.digest, "file": str(out)})
        return
    training, unit = found.training, found.plan.output.unit
    print(f"{found.reference}, digest {found.digest}")
    print(f"  fitted with {training.fitted_with} to {len(training.samples)} samples of {len(training.batches)} batches")
    curve = ", ".join(f"{a}: {value:.4f}" for a, value in enumerate(training.rmsecv, start=1))
    print(f"  RMSECV in {unit} by number of components: {curve}; {training.components} taken")
    print(f"  T² limit {found.computation.t2_limit:.3f}, Q limit {_q(found.computation.q_limit)}, at {found.plan.confidence}")


@app.command("list")
def list_models(url: Url = _URL, user: User = "engineer", as_json: AsJson = False) -> None:
    """List all versions with state, impact and what their test showed."""
    desk = _desk(url, user)
    try:
        found = desk.list("/models")
    finally:
        desk.close()
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for head in ("model", "state", "impact", "test", "digest", "title"):
        table.add_column(head)
    for item in found:
        state = "suspended" if item.get("suspended") else item.get("status")
        test = {True: "passed", False: "failed"}.get(bool(item["test_passed"]), "") if item.get("test_passed") is not None else "none yet"
        table.add_row(
            *(str(cell) for cell in (item["model"], state, item.get("impact"), test, str(item["digest"])[:12], item.get("title")))
        )
    Console(highlight=False, soft_wrap=True).print(table)


@app.command("show")
def show(model: Model, url: Url = _URL, user: User = "engineer", as_json: AlwaysJson = True) -> None:
    """Print one version whole, as JSON: definition, test, life, steps from here."""
    _get(url, user, f"/models/{model}")


@app.command("monitoring")
def monitoring(model: Model, url: Url = _URL, user: User = "engineer", as_json: AlwaysJson = True) -> None:
    """Print residuals of reference checks and the drift of the inputs, as JSON."""
    _get(url, user, f"/models/{model}/monitoring")


@app.command("draft")
def draft(
    file: Annotated[Path, typer.Argument(help="The definition that `fit` wrote.")],
    reason: Why,
    url: Url = _URL,
    user: User = "engineer",
    as_json: AsJson = False,
) -> None:
    """Write a definition down in the register; from then on its number means this content."""
    answer = _post(url, user, "/models", {"definition": _json(file), "reason": reason})
    if as_json:
        print_json(answer)
        return
    print(f"{answer.get('model')} is a draft, digest {answer.get('digest')}. Test it on independent data: dosewright model test")


@app.command("test")
def test(model: Model, data: Data, url: Url = _URL, user: User = "engineer", as_json: AsJson = False) -> None:
    """Test a draft on independent data, once; the limits are those that stand in the register already."""
    answer = _post(url, user, f"/models/{model}/test", {"data": _json(data)})
    if as_json:
        print_json(answer)
        return
    shown = answer.get("test")
    figures = shown if isinstance(shown, dict) else {}
    print(f"{model}: {'passed' if answer.get('test_passed') is True else 'FAILED'}")
    print(f"  {', '.join(f'{name} {value}' for name, value in figures.items())}")
    problems = answer.get("test_problems")
    for problem in problems if isinstance(problems, list) else []:
        print(f"  ! {problem}")


@app.command("submit")
def submit(model: Model, url: Url = _URL, user: User = "engineer", as_json: AlwaysJson = True) -> None:
    """Sign a tested model as its author and hand it in for review."""
    _step(url, user, model, "submit", "")


@app.command("approve")
def approve(model: Model, url: Url = _URL, user: User = "quality", as_json: AlwaysJson = True) -> None:
    """Approve as another person than the author."""
    _step(url, user, model, "approve", "")


@app.command("return")
def give_back(model: Model, reason: Why, url: Url = _URL, user: User = "quality", as_json: AlwaysJson = True) -> None:
    """Return a model to its author."""
    _step(url, user, model, "return", reason)


@app.command("effective")
def effective(model: Model, reason: Why, url: Url = _URL, user: User = "quality", as_json: AlwaysJson = True) -> None:
    """Take a model into use in place of its former version."""
    _step(url, user, model, "effective", reason)


@app.command("retire")
def retire(model: Model, reason: Why, url: Url = _URL, user: User = "quality", as_json: AlwaysJson = True) -> None:
    """Withdraw a model for good."""
    _step(url, user, model, "retire", reason)


@app.command("suspend")
def suspend(model: Model, reason: Why, url: Url = _URL, user: User = "engineer", as_json: AlwaysJson = True) -> None:
    """Take a model out of use until it is reviewed; batches that need it are held."""
    print_json(_post(url, user, f"/models/{model}/suspend", {"reason": reason}))


@app.command("reinstate")
def reinstate(model: Model, reason: Why, url: Url = _URL, user: User = "quality", as_json: AlwaysJson = True) -> None:
    """Take a suspended model into use again, the cause being assigned."""
    _step(url, user, model, "reinstate", reason)


@app.command("check")
def check(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A reference check (JSON): sample, inputs, reference, method, report.")],
    url: Url = _URL,
    user: User = "engineer",
    as_json: AlwaysJson = True,
) -> None:
    """Record a reference check; what it signals suspends the model."""
    print_json(_post(url, user, f"/models/{model}/checks", _json(file)))


@app.command("spectra")
def spectra(
    batch: Annotated[str, typer.Argument(help="The batch.", autocompletion=completions.batches)],
    file: Annotated[Path, typer.Argument(help="Spectra (JSON): a list under `spectra`.")],
    url: Url = _URL,
    user: User = "operator",
    as_json: AlwaysJson = True,
) -> None:
    """Record spectra of the units of a batch."""
    print_json(_post(url, user, f"/batches/{batch}/spectra", _json(file)))


@app.command("predict")
def predict(
    batch: Annotated[str, typer.Argument(help="The batch.", autocompletion=completions.batches)],
    url: Url = _URL,
    user: User = "operator",
    as_json: AlwaysJson = True,
) -> None:
    """Have the models that the batch's recipe names predict its units."""
    print_json(_post(url, user, f"/batches/{batch}/predictions", {}))


def _desk(url: str, user: str) -> Desk:
    return Desk.log_in(url, user, ask_password(Console(stderr=True), user))


def _step(url: str, user: str, model: str, step: str, reason: str) -> None:
    desk = _desk(url, user)
    try:
        body: dict[str, JsonValue] = {"signature": {"password": desk.password}, "reason": reason}
        print_json(desk.post(f"/models/{model}/{step}", body))
    finally:
        desk.close()


def _post(url: str, user: str, path: str, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    desk = _desk(url, user)
    try:
        return desk.post(path, body)
    finally:
        desk.close()


def _get(url: str, user: str, path: str) -> None:
    desk = _desk(url, user)
    try:
        print_json(desk.get(path))
    finally:
        desk.close()


def _json(file: Path) -> dict[str, JsonValue]:
    try:
        found = json.loads(_bytes(file))
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"{file} is not JSON: {error}.", remedy="Correct the file.") from None
    if not isinstance(found, dict):
        raise InputInvalid(f"{file} holds no object.", remedy="docs/models.md shows what stands in it.")
    return found


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(_LARGEST + 1)
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {error.strerror}.", remedy="Name a file that you may read.") from None
    if len(content) > _LARGEST:
        raise InputInvalid(f"{file} is larger than {_LARGEST} bytes.", remedy="Name the file of one model or data set.")
    return content


def _q(limit: object) -> str:
    return "none (as many components as inputs)" if limit is None else f"{limit:.4f}"
