"""`netemu fuzz`: a lab with random Services and policies, changed step by step and verified after each."""

import sys
from typing import Any

import click

from netemu.cli import options, screen, verify

_EXAMPLE = """
netemu fuzz --steps 50
netemu fuzz --seed 7 --steps 1000 --proxy iptables --pods routed
netemu fuzz --time 60
netemu fuzz --mutations --steps 20
"""

_ENOUGH = 0.95  # of the faults that change an answer must be reported


@options.command("fuzz", example=_EXAMPLE)
@click.option("--seed", type=int, help="The walk to go; a new one each time by default.")
@click.option("--steps", type=click.IntRange(0), default=100, show_default=True, help="How far.")
@click.option("--time", "seconds", type=float, metavar="SECONDS", help="Stop after that time.")
@click.option("--proxy", type=click.Choice(["nftables", "iptables"]), default="nftables", show_default=True)
@click.option("--pods", type=click.Choice(["bridged", "routed"]), default="bridged", show_default=True)
@click.option(
    "--mutations", is_flag=True, help="Break the programmed rules one by one; count what is noticed."
)
@click.option("--keep", is_flag=True, help="Leave the lab up when something fails.")
@click.option("--out", metavar="FILE", help="Write the manifests that fail there, too.")
@options.quiet
@click.option("--name", default="fuzz", show_default=True, metavar="LAB", help="What to call the lab.")
def command(
    *,
    seed: int | None,
    steps: int,
    seconds: float | None,
    proxy: str,
    pods: str,
    mutations: bool,
    keep: bool,
    out: str | None,
    quiet: bool,
    name: str,
) -> int:
    """Change a random cluster step by step, and hold every flow against the model after each step.

    Makes a lab of its own (--name, which must not be up), with pods, policies, Services and labels by chance,
    always the same for a seed. What disagrees is made small: the fewest objects that still fail are printed,
    with a command that goes the same walk again. Exit code 0: all agreed (of faults: 95 % were reported); 1:
    something did not.
    """
    import random

    from netemu.verify import fuzzlabs

    options.writable(out)
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    asked = fuzzlabs.Asked(name, seed, steps, seconds, proxy, pods)
    try:
        with screen.Progress(quiet=quiet) as progress:
            if mutations:
                score = fuzzlabs.mutate(asked, progress)
            else:
                walked = fuzzlabs.walk(asked, progress, keep=keep)
    except KeyboardInterrupt:
        click.echo(f"the walk was: {asked.command(steps)}{' --mutations' if mutations else ''}", err=True)
        raise
    paint = screen.painter(sys.stdout)
    if mutations:
        click.echo("\n".join(score.lines()))
        return 0 if score.reported >= _ENOUGH * len(score.tried) else 1
    if out and walked.failure:
        verify.write(out, fuzzlabs.manifests(walked.failure))
    for line in _lines(walked, asked, out, paint):
        click.echo(line)
    if keep and walked.failure:
        click.echo(f"the lab stays up, with these objects: netemu status --name {name}")
    return 1 if walked.failure else 0


def _lines(walked: Any, asked: Any, out: str | None, paint: Any) -> Any:
    from netemu.cli import truth
    from netemu.verify import fuzzlabs

    for text in walked.refused:
        yield paint("warn", f"not accepted: {text}")
    if walked.failure is None:
        verdict = paint("good", f"{walked.steps} steps, {walked.flows} flows: all agree with the model")
        ways = f"seed {asked.seed}, {asked.proxy}, {asked.pods} pods"
        yield f"{verdict}  ({ways}; the slowest took {walked.slowest:.1f} s to agree)"
        return
    failure = walked.failure
    where = f"step {failure.number} ({failure.step}) leads" if failure.number else "the very beginning leads"
    yield paint("bad", f"{where} to what the model does not allow")
    yield ""
    yield from truth.differences(failure.results, paint)
    yield paint("head", "the fewest objects found that fail:")
    if out not in (None, "-"):
        yield f"in {out}"
    elif out is None:
        yield fuzzlabs.manifests(failure)
    yield f"again: {asked.command(failure.number)}"
    if not failure.steps:
        yield f"   or: {asked.by_hand(out if out not in (None, '-') else 'FILE')}"
