"""Enrols a speaker from one or more recordings."""

from dataclasses import dataclass

from pyasp.bundle import enrolled
from pyasp.bundle import verify as use
from pyasp.bundle.verify import ModelOptions
from pyasp.core.command import command
from pyasp.core.options import option


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options of enroll."""

    add: bool = option(False, "add the recordings to those of a speaker who is there already")
    force: bool = option(False, "enrol anew a speaker who is there already")


@command(Options, "SPEAKERS", "NAME", "FILE...")
def main(options: Options, speakers: str, name: str, files: list[str]) -> None:
    """Writes the embeddings of the recordings FILE of one speaker to SPEAKERS/NAME.ark, for identify.

    A directory SPEAKERS holds speakers enrolled with one model; deleting NAME.ark removes the speaker.

    Example, after ./run.sh:
        pyasp bundle --force exp/toy/ivector model
        pyasp enroll --model model speakers ann data/toy/corpus/test/wav/id20001/*/00001.wav
    """
    path = enrolled.speaker_file(speakers, name)
    enrolled.check_speaker(path, options.add, options.force)  # before any work
    model = use.load_model(options)
    heard, _ = use.hear_each(model, files, options.channel, every=True)
    vectors = [(each.name, each.vector) for each in heard]
    count, new = enrolled.save_speaker(speakers, name, vectors, model, options.add, options.force)
    others = enrolled.enrolled_too(speakers, path.stem, [each.vector for each in heard], model)
    voiced = sum(each.voiced for each in heard)
    more = f", {new} of them new" if options.add else ""
    print(f"{path}: {count} recordings{more}; {voiced:.1f} s of voice in {' '.join(each.name for each in heard)}")
    if new < len(heard):
        print(f"warning: {len(heard) - new} of {len(heard)} recordings were there already: none counts twice")
    for each, names in zip(heard, others):
        for warning in [*each.warnings, *(f"{other} is enrolled with this very recording" for other in names)]:
            print(f"warning: {each.name}: {warning}")


if __name__ == "__main__":
    raise SystemExit(main())
