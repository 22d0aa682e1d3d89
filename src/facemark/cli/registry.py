"""``facemark promote``, ``rollback`` and ``archive``: the model registry."""

from pathlib import Path
from typing import Annotated

import typer

from facemark.cli.common import console, fail


def promote() -> None:
    """Make the model built here the champion of the registry, unless it is worse than the current champion."""
    from rich.table import Table

    from facemark.mlops import registry
    from facemark.mlops.promote import promote
    from facemark.settings import load_params

    try:
        decision = promote(load_params())
    except registry.FAILURES as error:
        raise fail(error) from error
    table = Table("", "champion", "challenger", "limit", "")
    for each in decision.comparisons:
        values = (each.champion, each.challenger, each.limit)
        cells = ["–" if value is None else f"{value:.2f}" for value in values]
        table.add_row(each.metric, *cells, "worse" if each.worse else "")
    if decision.comparisons:
        console.print(table)
    if not decision.promoted:
        raise fail(decision)
    print(decision)


def rollback() -> None:
    """Make the previous champion the champion again."""
    from facemark.mlops import registry

    try:
        replaced, restored = registry.roll_back()
    except registry.FAILURES as error:
        raise fail(error) from error
    print(f"version {restored.version} is champion again, in place of version {replaced.version}")


def archive(
    version: Annotated[
        str, typer.Argument(help="Version in the registry: champion, challenger, or a number.")
    ] = "champion",
    out: Annotated[Path, typer.Option("--out", "-o", help="The archive to write.")] = Path("build/champion.mar"),
) -> None:
    """Pack a registered model for TorchServe; then: facemark serve ARCHIVE."""
    from facemark.mlops import registry

    try:
        registry.pack(version, out)
    except registry.FAILURES as error:
        raise fail(error) from error
