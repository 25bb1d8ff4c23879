"""Enrols a speaker from one or more recordings."""

from dataclasses import dataclass

from pyasp.bundle.verify import ModelOptions, hear_all, load_model, save_speaker, speaker_file
from pyasp.core.command import command
from pyasp.core.options import option


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options of enroll."""

    force: bool = option(False, "enrol anew a speaker who is there already")


@command(Options, "SPEAKERS", "NAME", "FILE...")
def main(options: Options, speakers: str, name: str, files: list[str]) -> None:
    """Writes the embeddings of the recordings FILE of one speaker to SPEAKERS/NAME.ark, for identify.

    A directory SPEAKERS holds speakers enrolled with one model; deleting NAME.ark removes the speaker.
    """
    speaker_file(speakers, name)
    model = load_model(options)
    heard = hear_all(model, files, options.channel)
    path = save_speaker(speakers, name, heard, model, options.force)
    voiced = sum(each.voiced for each in heard)
    print(f"{path}: {len(heard)} recordings, {voiced:.1f} s of voice")
    for each in heard:
        for warning in each.warnings:
            print(f"warning: {each.name}: {warning}")


if __name__ == "__main__":
    raise SystemExit(main())
