"""`python -m iscsi_conformance.corpus`: write the rule book's captures, and the documents about its rules."""

from __future__ import annotations

from pathlib import Path

import click

from iscsi_conformance.corpus.document import RULES_FILE, UNJUDGED_FILE, rules_document, unjudged_document
from iscsi_conformance.corpus.write import write

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--write", "folder", type=_FOLDER, help="Two captures for each rule go there.")
@click.option("--docs", type=_FOLDER, help=f"{RULES_FILE} and {UNJUDGED_FILE} go there.")
def main(folder: Path | None, docs: Path | None) -> None:
    """Write for each rule a capture that breaks it and one that only nearly does, and the list of the rules."""
    if folder is None and docs is None:
        raise click.UsageError("one of --write and --docs is needed")
    try:
        if folder is not None:
            paths = write(folder)
            click.echo(f"{len(paths)} captures of {sum(path.stat().st_size for path in paths)} bytes in {folder}")
        if docs is not None:
            docs.mkdir(parents=True, exist_ok=True)
            (docs / RULES_FILE).write_text(rules_document(), encoding="utf-8")
            (docs / UNJUDGED_FILE).write_text(unjudged_document(), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


if __name__ == "__main__":
    main(prog_name="python -m iscsi_conformance.corpus")
