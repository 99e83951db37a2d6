"""`netemu check`: manifests against a small file of expectations, for a pipeline."""

import json
import sys

import click

from netemu.cli import options, screen

_EXAMPLE = """
sudo netemu check deploy/                # build it in a lab and measure
netemu check deploy/ --static            # by the model alone, without root
netemu check deploy/ --static --junit report.xml
netemu check --diff main/deploy deploy   # what a change opens and closes
"""


@options.command("check", example=_EXAMPLE)
@click.argument("folders", nargs=-1, metavar="DIR", type=click.Path())
@click.option("--static", "only_model", is_flag=True, help="Judge by the model alone: no lab, no root.")
@click.option(
    "--diff", "compare", is_flag=True, help="DIR is OLD NEW: list the flows that NEW opens or closes."
)
@click.option(
    "--expect", "expect_file", metavar="FILE", help="The expectations.  [default: DIR/expectations.yaml]"
)
@click.option(
    "--images", is_flag=True, help="Run the manifests' own images, instead of stand-ins that listen."
)
@click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON (- is stdout).")
@click.option("--junit", "junit_file", metavar="FILE", help="Write the report as JUnit XML (- is stdout).")
@options.namespace
@options.quiet
def command(
    *,
    folders: tuple[str, ...],
    only_model: bool,
    compare: bool,
    expect_file: str | None,
    images: bool,
    json_file: str | None,
    junit_file: str | None,
    namespace: str,
    quiet: bool,
) -> int:
    """Check the manifests in DIR against DIR/expectations.yaml.

    By default they are built in a lab of their own and measured, with servers that stand in for the images;
    --static asks the model instead. With --diff OLD NEW nothing is expected: it lists what changes.
    Exit code 0: all holds (--diff: nothing changes); 1: it does not; 2: bad input, or no lab can be made.
    """
    from netemu.base import errors

    if len(folders) != (2 if compare else 1):
        wanted = "--diff takes two folders: OLD NEW" if compare else "check takes one folder"
        raise errors.Rejected(wanted, hint="netemu check deploy/ --static")
    options.writable(json_file, junit_file)
    if compare and (expect_file or junit_file or images):
        raise errors.Rejected("--diff expects nothing and runs nothing", hint="its report is --json FILE")
    if compare:
        return _diff(folders[0], folders[1], namespace, json_file)
    if only_model:
        return _static(folders[0], expect_file, namespace, json_file, junit_file)
    return _measured(folders[0], expect_file, namespace, json_file, junit_file, images=images, quiet=quiet)


def _diff(old: str, new: str, namespace: str, json_file: str | None) -> int:
    from netemu.check import diff, folders

    changes = diff.diff(folders.imagined(old, namespace), folders.imagined(new, namespace))
    if json_file:
        _write(json_file, json.dumps(diff.document(changes), indent=2) + "\n")
    if json_file != "-":
        for line in diff.lines(changes):
            click.echo(line)
    return 1 if changes else 0


def _static(
    folder: str, expect_file: str | None, namespace: str, json_file: str | None, junit_file: str | None
) -> int:
    from netemu.check import expectations, folders, imagine, reports, static

    path = folders.expectations_file(folder, expect_file)
    wanted = expectations.load(path)
    files = folders.manifest_files(folder, but=path)
    found = static.judge(imagine.world(folders.read(files, folder, namespace)), wanted)
    for file, render in ((json_file, reports.to_json), (junit_file, reports.to_junit)):
        if file:
            _write(file, render(found))
    if "-" not in (json_file, junit_file):
        paint = screen.painter(sys.stdout)
        for holds, line in reports.lines(found):
            click.echo(paint("good" if holds else "bad", line[:4]) + line[4:])
    return 0 if found.ok else 1


def _measured(
    folder: str,
    expect_file: str | None,
    namespace: str,
    json_file: str | None,
    junit_file: str | None,
    *,
    images: bool,
    quiet: bool,
) -> int:
    import pathlib
    import random
    import tempfile

    from netemu.base import clock, ids
    from netemu.check import build, expectations, folders, imagine
    from netemu.cli import run as run_command
    from netemu.scenario import run

    path = folders.expectations_file(folder, expect_file)
    wanted = expectations.load(path)
    objects = folders.read(folders.manifest_files(folder, but=path), folder, namespace)
    imagined = imagine.world(objects)
    title = pathlib.Path(folder).resolve().name
    with tempfile.TemporaryDirectory(prefix="netemu-check-") as directory:
        scenario = build.scenario(
            objects, imagined, wanted, pathlib.Path(directory), name=title, images=images
        )
        lab = f"check-{ids.suffix(random.SystemRandom())}"
        try:
            with screen.Progress(quiet=quiet) as progress:
                found = run.run(scenario, name=lab, keep=False, progress=progress, time=clock.SystemClock())
        except BaseExceptionGroup as group:
            raise options.single(group) from group
    run_command.deliver(found, json_file, junit_file, verbose=False)
    return 0 if found.ok else 1


def _write(file: str, text: str) -> None:
    from netemu.cli import verify

    verify.write(file, text)
