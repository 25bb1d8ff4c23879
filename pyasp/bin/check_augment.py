"""Checks augment.conf, and the folders it takes sounds from, before any work."""

import sys
from dataclasses import dataclass

from pyasp.audio.augment_options import AugmentOptions, check
from pyasp.audio.folders import musan_noises, responses_of
from pyasp.core.command import command
from pyasp.core.options import option


@dataclass(frozen=True)
class Options(AugmentOptions):
    """Options of check_augment."""

    musan: str = option("", "folder of noises that the copies will take")
    rirs: str = option("", "folder of impulse responses that the copies will take")


@command(Options)
def main(options: Options) -> None:
    """Fails now, not after hours, when the augmentation asked for cannot be done: a codec without its encoder, a folder
    without sounds."""
    found = check(options)
    if found:
        print(f"codec of the augmented copies: {found}", file=sys.stderr)
    for folder, sounds in ((options.musan, musan_noises), (options.rirs, responses_of)):
        if folder and options.copies:
            print(f"{folder}: {len(sounds(folder))} sounds for the augmented copies", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
