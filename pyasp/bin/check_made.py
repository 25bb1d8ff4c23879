"""Checks that what a run starts from was made with the present settings and inputs."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.bin import _stale as stale
from pyasp.core.command import command
from pyasp.core.options import option


@dataclass(frozen=True)
class Options:
    """Options of check_made."""

    conf: str = option("", "conf directory of the run")
    seed: int = option(1, "seed of the run")
    corpus: str = option("toy", "name of the corpus")
    systems: str = option("", "systems of the run, with spaces between")
    skipped: str = option("", "stages before the first of the run, with spaces between: what they left is looked at")
    kaldi_ivector: str = option("", "UBM and extractor given in place of trained ones")
    kaldi_backend: str = option("", "back end given in place of a trained one")


@command(Options, "DATA", "EXP", "--", "[PREP_OPTION]...")
def main(options: Options, data: str, exp: str, prep_options: list[str]) -> None:
    """Looks at every record X.made.json that the --skipped stages left under DATA and EXP.

    An artefact made with other settings, another seed or from other inputs is an error that names the stage to re-run
    from. PREP_OPTION: words of run.sh for the preparation, behind `--`.
    """
    systems = stale.with_variants(tuple(options.systems.split()), Path(exp), options.conf)
    run = stale.Run(
        Path(data),
        Path(exp),
        systems,
        options.conf,
        options.seed,
        options.corpus,
        tuple(prep_options),
        options.kaldi_ivector,
        options.kaldi_backend,
    )
    found = stale.find(run, options.skipped.split())
    if found:
        raise stale.error(run, found)


if __name__ == "__main__":
    raise SystemExit(main())
