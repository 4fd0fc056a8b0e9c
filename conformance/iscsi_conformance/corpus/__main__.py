"""`python -m iscsi_conformance.corpus`: write the rule book's breaking captures and near misses."""

from __future__ import annotations

from pathlib import Path

import click

from iscsi_conformance.corpus.write import write


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--write", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where to.")
def main(folder: Path) -> None:
    """Write two captures for each rule: one that breaks it, and one that only nearly does."""
    try:
        paths = write(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from error
    click.echo(f"{len(paths)} captures of {sum(path.stat().st_size for path in paths)} bytes in {folder}")


if __name__ == "__main__":
    main(prog_name="python -m iscsi_conformance.corpus")
