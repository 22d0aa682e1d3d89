"""The command line, ``facemark``; its ``--help`` lists the commands.

A command is a function in a module named by its topic. It imports what it needs when it runs, so ``--help`` is quick.
Results are printed to stdout, everything else to stderr. Exit codes: 0 success, 1 something failed, 2 wrong usage, 130
Ctrl-C.
"""

import typer

from facemark.cli import bench, data, predict, registry, serve

app = typer.Typer(
    help="Facial landmarks by parsing first. Exit codes: 0 all went well, 1 something failed, 2 wrong usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (
    *(predict.predict, bench.batch, serve.serve, serve.stop, predict.info, bench.bench, serve.demo),
    *(registry.promote, registry.rollback, registry.archive, data.evaluate),
):
    app.command()(command)
app.add_typer(data.app, name="data")
