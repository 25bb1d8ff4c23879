"""Puts a trained system into one directory that scores anywhere."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from pyasp.bundle.format import MANIFEST
from pyasp.bundle.kaldi import is_kaldi, read_kaldi
from pyasp.bundle.verify import scale_text
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option


@dataclass(frozen=True)
class Options:
    """Options of bundle."""

    backend: str = option("", "of a Kaldi directory: where mean.vec, transform.mat and plda are")
    conf: str = option("", "of a Kaldi directory: where mfcc.conf and vad.conf are")
    calibration: str = option("", "calibration.json to take, or none; else SYSTEM's own, SYSTEM+cal's, +calhalf's")
    trials: str = option("", "list whose calibration to take, where they differ (+calhalf); else the first")
    force: bool = option(False, "replace the bundle MODEL")


@command(Options, "SYSTEM", "MODEL")
def main(options: Options, system: str, model: str) -> None:
    """Writes the bundle MODEL of SYSTEM: options, network or UBM and extractor, back end, calibration, model card.

    SYSTEM is EXP/SYSTEM of a finished run (exp/toy/ivector), or a Kaldi directory with final.ubm and final.ie. A system
    is calibrated by its variants SYSTEM+cal or SYSTEM+calhalf (--variant=cal in backend.conf).
    MODEL holds no pickles and needs none of the recipe's directories.

    Example, after ./run.sh:
        pyasp bundle --force exp/toy/attentive_statistics model.as
    """
    from pyasp.bundle.make import calibration_file, calibration_of, copy_kaldi, fill, make, survey
    from pyasp.bundle.speaker_model import SpeakerModel  # both import torch, for which --help need not wait

    kaldi = is_kaldi(system) and not any((Path(system) / ours).exists() for ours in ("scores", "results.json"))
    if options.calibration or options.trials if kaldi else options.backend or options.conf:
        found = "--calibration or --trials" if kaldi else "--backend or --conf"
        expected = "--backend and --conf of a Kaldi directory, --calibration and --trials of a system of a run"
        raise InputError(system, found, expected, "Leave it out")
    if kaldi:
        write = functools.partial(copy_kaldi, read_kaldi(system, options.backend, options.conf))
    else:
        path = calibration_file(Path(system), options.calibration)
        calibration = calibration_of(Path(system), path, options.trials) if path else None
        write = functools.partial(fill, survey(Path(system)), calibration)
        print(f"calibration: {path or 'none'}" + (f", of {calibration['trials']}" if calibration else ""))
        for loss in calibration.get("losses", ()) if calibration else ():
            print(f"warning: {path}: {loss}", file=sys.stderr)
    make(write, Path(model), options.force)
    loaded = SpeakerModel.load(model)
    size = sum(path.stat().st_size for path in Path(model).iterdir())
    calibrated = "calibrated" if loaded.calibrated else f"not calibrated: {scale_text(loaded)}"
    facts = f"{loaded.bundle.kind}, vectors of {loaded.dim}, {loaded.rate} Hz, {size / 1e6:.1f} MB, {calibrated}"
    print(f"{Path(model) / MANIFEST}: {facts}")


if __name__ == "__main__":
    raise SystemExit(main())
