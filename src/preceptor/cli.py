"""The command `preceptor`. Nothing heavy is imported before a command runs, so that `--help` is quick."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import preceptor
from preceptor import cli_export
from preceptor.errors import Later, MissingPackageError, PreceptorError, RecipeError, StorageError

OPTIONAL = frozenset({"torch", "transformers", "peft", "gguf", "safetensors", "accelerate"})
"""Packages of the extra `train`."""

Scale = Annotated[
    str | None,
    typer.Option(help="Take the keys of the recipe's table [scale.NAME] in place of its own, e.g. small."),
]
TeacherModels = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        metavar="MODEL",
        help="A model on this machine (builtin:..., a folder, a hub name) that takes the place of the recipe's teacher "
        "and writes as it does; NAME=MODEL that of [teachers.NAME]. For an endpoint: --set teacher.kind=openai "
        "--set teacher.model=NAME.",
    ),
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Improve a small language model in one domain with data that a large model writes, and measure honestly "
    "whether it helped.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"preceptor {preceptor.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML), or the name of one that ships with the package.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run. Default: runs/NAME, NAME from the recipe; with a scale runs/NAME-SCALE."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key: train.alpha=64. May be given several times."),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="A model that takes the place of the recipe's students, trained as the first of them."),
    ] = None,
    teachers: TeacherModels = None,
    scale: Scale = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="End after so long with status 75, also amid a training or writing; run again to go on.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Train and evaluate so many cells at once, in processes that share the cores; not on a GPU.",
        ),
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Run a whole experiment, from data to report. Started again, it goes on where it ended."""
    from preceptor.config import AdaptRecipe, InstructRecipe, find_recipe, read_recipe
    from preceptor.pipeline.processes import helped
    from preceptor.progress import Progress

    if helped(workers):
        return
    path = find_recipe(recipe)
    checked = read_recipe(path, settings or [], student, teachers=teachers or [], scale=scale)
    folder = out or _usual_folder(checked.name, scale)
    overrides = [word for s in settings or [] for word in ("--set", s)]
    named = [("--teacher", teacher) for teacher in teachers or ()]
    for option, given in (("--student", student), *named, ("--scale", scale)):
        overrides += [option, given] if given else []
    overrides += ["--workers", str(workers)] if workers > 1 else []
    command = shlex.join(["preceptor", "run", str(recipe), "--out", str(folder), *overrides])
    common: dict[str, Any] = {"folder": folder, "base": path.parent, "command": command, "minutes": minutes}
    common["progress"] = Progress(quiet=quiet)
    try:
        if isinstance(checked, AdaptRecipe):
            if workers > 1:
                raise RecipeError(f"--workers {workers}: this recipe trains one model.", "Leave --workers out.")
            from preceptor.pipeline.adaptation import run_adaptation
            from preceptor.report.build_adapt import adapt_sentences

            said = adapt_sentences(run_adaptation(checked, **common))
        elif isinstance(checked, InstructRecipe):
            from preceptor.pipeline.instructions import run_instructions
            from preceptor.report.instruct_sentences import instruct_sentences

            said = instruct_sentences(run_instructions(checked, **common, workers=workers))
        else:
            from preceptor.pipeline.labels import run as run_labels
            from preceptor.report.sentences import sentences

            said = sentences(run_labels(checked, **common, workers=workers))
    except KeyboardInterrupt:
        typer.echo(f"Stopped. What was finished or answered is kept; go on with:\n{command}", err=True)
        raise typer.Exit(130) from None
    for sentence in said:
        typer.echo(sentence)
    typer.echo(f"Report: {(folder / 'report.html').resolve()}")


@app.command()
def estimate(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML), or the name of one that ships with the package.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run, whose answers so far are counted.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override a key: teacher.max_tokens=64.")] = None,
    teachers: TeacherModels = None,
    scale: Scale = None,
) -> None:
    """Say what asking the teacher would take in tokens, money and time. Sends nothing."""
    from preceptor.config import AdaptRecipe, InstructRecipe, find_recipe, read_recipe

    path = find_recipe(recipe)
    checked = read_recipe(path, settings or [], teachers=teachers or [], scale=scale)
    folder = out or _usual_folder(checked.name, scale)
    if isinstance(checked, AdaptRecipe):
        said = ["No teacher is asked in this recipe."]
    elif isinstance(checked, InstructRecipe):
        from preceptor.pipeline.tasks import estimate_tasks

        said = estimate_tasks(checked, folder=folder, base=path.parent)
    else:
        from preceptor.pipeline.label_forecast import estimate as estimate_labels

        said = estimate_labels(checked, folder=folder, base=path.parent)
    for sentence in said:
        typer.echo(sentence)


def _usual_folder(name: str, scale: str | None) -> Path:
    return Path("runs") / (f"{name}-{scale}" if scale else name)


@app.command()
def score(
    file: Annotated[
        Path,
        typer.Argument(help="Predictions: JSON {id: label or text}, JSONL, or a list in the split's order."),
    ],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    task: Annotated[Literal["pubmedqa"], typer.Option(help="The task.")] = "pubmedqa",
    split: Annotated[Literal["official", "paper"], typer.Option(help="Which test items are scored.")] = "official",
    parser: Annotated[Literal["strict", "paper"], typer.Option(help="How texts are read.")] = "strict",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score anyone's predictions. Wrong ids and labels are named, and then nothing is scored."""
    import json
    from dataclasses import asdict

    from preceptor.pipeline.score import score_file
    from preceptor.report.table import as_table

    rows = score_file(file, data=data, split=split, parser=parser)
    if as_json:
        typer.echo(json.dumps({"task": task, "split": split, "parser": parser, **asdict(rows[0])}, indent=2))
    else:
        typer.echo(f"{task}, {split} split, {rows[0].n} items, parser {parser}")
        typer.echo(as_table(rows))


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Runs' folders, results.json, folders or files of `results`, or files of predictions."),
    ],
    students: Annotated[str | None, typer.Option(help="Only these students, with commas between.")] = None,
    arms: Annotated[str | None, typer.Option(help="Only these arms, with commas between.")] = None,
    settings: Annotated[str | None, typer.Option(help="Only these data settings, with commas between.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The arm that others are compared with. Default: none, or its like in the first run."),
    ] = None,
    baseline_student: Annotated[
        str | None, typer.Option(help="The student that the others are compared with, arm by arm.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="PubMedQA's folder or file, where only answers are given and no run.")
    ] = None,
    split: Annotated[Literal["official", "paper"], typer.Option(help="With --data: which test items.")] = "official",
    parser: Annotated[Literal["strict", "paper"], typer.Option(help="How texts are read.")] = "strict",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Also write a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs or arms on the same items: exact McNemar, paired bootstrap, Holm, the smallest gap to be found."""
    import json
    from dataclasses import asdict

    from preceptor.pipeline.compare import Chosen, compare_runs
    from preceptor.pipeline.compare_sources import pubmedqa_reference
    from preceptor.report.comparison import build_comparison, compare_sentences, compare_table

    only = [tuple(given.split(",")) if given else () for given in (students, arms, settings)]
    chosen = Chosen(only[0], only[1], only[2], baseline, baseline_student)
    reference = pubmedqa_reference(data, split) if data is not None else None
    found = compare_runs(runs, chosen, reference=reference, parser=parser, resamples=resamples, seed=seed)
    if as_json:
        typer.echo(json.dumps({"comparisons": [asdict(c) for c in found.comparisons], "notes": found.notes}, indent=2))
    else:
        for line in (compare_table(found.comparisons), *compare_sentences(found.comparisons), *found.notes):
            typer.echo(line)
    if html is not None:
        command = shlex.join(["preceptor", "compare", *sys.argv[2:]])
        page = build_comparison(found.comparisons, found.notes, command, html)
        typer.echo(f"Page: {page.resolve()}", err=as_json)


app.add_typer(cli_export.app, name="export")


@app.command()
def convert(
    model: Annotated[str, typer.Argument(help="A model folder or hub name whose weights are pytorch_model.bin.")],
    out: Annotated[Path, typer.Option(help="Folder for the model; it must be empty or new.")],
) -> None:
    """Write an older model's weights as safetensors, the only form that is loaded. No program in it is run."""
    from preceptor.pipeline.export import convert_model

    typer.echo(f"{convert_model(model, out)} tensors of {model}: {out.resolve()}")


@app.command()
def doctor() -> None:
    """Say what this machine has, and what is missing with the line that installs it. Shows no key's value."""
    from preceptor.doctor import examine

    report = examine()
    typer.echo(report.text)
    if not report.ready:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors become one sentence and a hint on stderr, with exit status 1; 75 means: later again."""
    from preceptor.pipeline.processes import ending_at_once

    with ending_at_once():
        try:
            app()
        except PreceptorError as error:
            _fail(error)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL:
                raise
            _fail(MissingPackageError.of(str(error.name), "this command", 'pip install "preceptor[train]"'))
        except OSError as error:
            # What no stage has turned into a sentence of its own: still no traceback for a full disk.
            _fail(StorageError.of(error.filename or "a file", error))


def _fail(error: PreceptorError) -> None:
    typer.echo(error.message if isinstance(error, Later) else f"Error: {error.message}", err=True)
    if error.hint:
        typer.echo(error.hint, err=True)
    sys.exit(error.exit_status)
