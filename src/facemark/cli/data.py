"""``facemark data``: check, show and pseudo-label datasets. ``facemark evaluate``: evaluate the model on one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from facemark.cli.common import console, fail, load_parser

if TYPE_CHECKING:
    from facemark.settings import Dataset

app = typer.Typer(help="Check and show a dataset before training, or add pseudo-labels to it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The dataset's folder.")]
Format = Annotated[
    str,
    typer.Option(
        help="starter, celebamask, celebamask_parts, lapa, helen_star, face_synthetics, landmarks68, pts300w, wflw or "
        "folder; docs/data.md describes them."
    ),
]
Classes = Annotated[str | None, typer.Option(help="Of format folder: '{0: background, 1: skin, 2: ignore}'.")]


def _describe(folder: Path, format_name: str, classes: str | None) -> "Dataset":
    """The dataset that the options describe."""
    import yaml

    from facemark.datatools.summary import describe_dataset

    try:
        return describe_dataset(folder, format_name, yaml.safe_load(classes) if classes else None)
    except (ValueError, yaml.YAMLError) as error:
        raise fail(error) from error


def evaluate(
    folder: Folder,
    format: Format,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="For datasets with splits.")] = "val",
    classes: Classes = None,
) -> None:
    """Evaluate the model on a dataset's masks and points, and print the metrics as JSON.

    Pictures without a split are always evaluated. Invalid ones are reported and left out, and the exit code is 1.

    - facemark evaluate data --format starter
    """
    import json
    from tempfile import TemporaryDirectory

    from facemark.data.validation import validate_dataset
    from facemark.evaluation.evaluate import round_figures
    from facemark.evaluation.scoring import evaluate_samples

    dataset, parser = _describe(folder, format, classes), load_parser()
    try:
        with TemporaryDirectory() as converted:
            report = validate_dataset(dataset, Path(converted), split)
            for image, problem in report.bad:
                console.print(f"left out {image}: {problem}")
            refusals = [fail(refusal) for refusal in report.refusals("set_aside")]
            if not report.sound:
                raise fail(f"{folder} has no sound pictures in its {split} split; name another one with --split")
            figures = evaluate_samples(parser, report.sound, "evaluating", 0).figures()
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    print(json.dumps({"pictures": len(report.sound)} | round_figures(figures), indent=1))
    raise typer.Exit(int(bool(report.bad or refusals)))


@app.command()
def check(folder: Folder, format: Format, classes: Classes = None) -> None:
    """Print what a dataset holds and what is wrong with it; exit code 1 where prepare would refuse it."""
    from facemark.datatools.summary import check_dataset

    try:
        tables, report = check_dataset(_describe(folder, format, classes))
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    Console().print(tables)
    for image, problem in report.bad:
        console.print(f"{image}: {problem}")
    for outliers in report.outliers:
        console.print(f"{outliers.sample.image}: {outliers}")
    if report.outliers:
        console.print("prepare moves such points of training pictures to where the rest of the face predicts them")
    refusals = [fail(refusal) for refusal in report.refusals("refuse")]
    raise typer.Exit(int(bool(refusals)))


@app.command()
def show(
    folder: Folder,
    format: Format,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to draw into.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of pictures, evenly chosen.")] = 12,
    classes: Classes = None,
) -> None:
    """Draw a contact sheet: each picture with its points, next to it its mask."""
    from facemark.datatools.contact_sheet import draw_contact_sheet

    try:
        draw_contact_sheet(_describe(folder, format, classes), count).save(out)
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    except (OSError, ValueError) as error:
        raise fail(f"{out} cannot be written; name a .png or .jpg in a folder that exists") from error


@app.command("pseudo-labels")
def pseudo_labels(
    folder: Folder,
    format: Format,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder that does not exist yet.")],
    all_splits: Annotated[
        bool,
        typer.Option("--all-splits", help="Also the faces that prepare.splits would draw for validation and test."),
    ] = False,
) -> None:
    """Write the training faces of a dataset that has only points, with pseudo-labels.

    A pseudo-label is a mask: what the points determine, and the classes that the parser predicts with high probability.
    """
    from facemark.datatools.pseudo_labels import write_pseudo_labels
    from facemark.settings import Splits, load_params

    try:
        prepare = load_params().prepare
        shares = Splits(val=0, test=0) if all_splits else prepare.splits
        dataset = _describe(folder, format, None)
        report = write_pseudo_labels(dataset, shares, prepare.seed, load_parser(), out)
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for image, problem in report.bad:
        console.print(f"left out {image}: {problem}")
    print(f"{out}: train on it as format celebamask, with prepare.splits of 0 so that none is used for validation")
