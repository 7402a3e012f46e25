"""`preceptor export`: what leaves Preceptor for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Write tasks and predictions for other programs.")


@app.command("lm-eval")
def lm_eval(
    source: Annotated[Path, typer.Argument(metavar="RECIPE_OR_RUN", help="A recipe, its name, or a run's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the task's files.")],
    base: Annotated[
        Path | None, typer.Option(help="Folder where relative paths of the recipe start. Default: the recipe's.")
    ] = None,
) -> None:
    """Write the recipe's task as a folder that lm-evaluation-harness runs."""
    from preceptor.pipeline.export import export_harness

    names = export_harness(source, out, base)
    typer.echo(f"Tasks: {', '.join(names)}, in {out.resolve()}")
    typer.echo(
        f"Run: lm_eval --model hf --model_args pretrained=MODEL --include_path {out} --tasks {','.join(names)} "
        "--num_fewshot 0"
    )


@app.command()
def model(
    weights: Annotated[Path, typer.Argument(help="A trained student's folder: RUN/train/..., down to its seed.")],
    out: Annotated[Path, typer.Option(help="Folder for the model; it must be empty or new.")],
    base: Annotated[
        str | None, typer.Option(help="The model that was trained. Default: the one that the weights name.")
    ] = None,
) -> None:
    """Write a trained language model as a plain folder that transformers, servers and other recipes load."""
    from preceptor.pipeline.export import export_model

    name = export_model(weights, out, base)
    typer.echo(f"Model: {name} as trained in {weights}, in {out.resolve()}")
    typer.echo("For research: not for medical advice, nor for any other advice or decision about people.")


@app.command()
def predictions(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a folder of its results.")],
    student: Annotated[str, typer.Option(help="The student's name.")],
    arm: Annotated[str, typer.Option(help="The arm; `untrained` for the model as it came.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    seed: Annotated[int | None, typer.Option(help="Needed where the arm has several.")] = None,
    setting: Annotated[str | None, typer.Option(help="Needed where the run has several.")] = None,
) -> None:
    """Write answers to PubMedQA's official test in the form of its leaderboard: {PMID: yes, no or maybe}."""
    from preceptor.pipeline.export import export_predictions

    chosen = export_predictions(run, out, student=student, arm=arm, seed=seed, setting=setting)
    typer.echo(f"Predictions of {student}, {arm}, seed {chosen}: {out.resolve()}")
