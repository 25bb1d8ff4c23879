"""The results printed in Okabe, Koshinaka and Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding"
(Interspeech 2018), Tables 1 to 3. They are shown, labelled "paper", beside results on the same trials and nowhere else.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PaperRow:
    """EER in percent, minDCF at 0.01 and 0.001, and EER in percent by duration class (seconds)."""

    eer: float
    min_dcf: dict[str, float]
    by_duration: dict[str, float] = field(default_factory=dict)


def _row(dcf2: float, dcf3: float, eer: float, *durations: float) -> PaperRow:
    return PaperRow(eer, {"0.01": dcf2, "0.001": dcf3}, dict(zip(("30", "100", "300"), durations)))


# {corpus: (trial list, {system: row})}
PAPER: dict[str, tuple[str, dict[str, PaperRow]]] = {
    "sre12": (
        "cc2",
        {
            "ivector": _row(0.169, 0.291, 1.50, 2.66, 1.09, 0.58),
            "average": _row(0.290, 0.484, 2.57, 3.58, 2.07, 1.86),
            "attention": _row(0.228, 0.399, 1.99, 3.00, 1.58, 1.27),
            "statistics": _row(0.183, 0.331, 1.58, 2.49, 1.25, 0.82),
            "attentive_statistics": _row(0.170, 0.309, 1.47, 2.46, 1.07, 0.80),
        },
    ),
    "voxceleb": (
        "veri_test",
        {
            "ivector": _row(0.479, 0.595, 5.39),
            "average": _row(0.464, 0.550, 4.70),
            "attention": _row(0.443, 0.598, 4.52),
            "statistics": _row(0.413, 0.530, 4.19),
            "attentive_statistics": _row(0.406, 0.513, 3.85),
        },
    ),
}


def paper_rows(corpus: str, trial_list: str) -> dict[str, PaperRow]:
    """{system: row} when the paper reports on these trials, else nothing."""
    name, rows = PAPER.get(corpus, ("", {}))
    return rows if name == trial_list else {}


AUGMENTATION = """Augmentation: MUSAN and RIRS_NOISES, or generated noises and rooms, for PRISM noises and REVERB
impulse responses""".replace("\n", " ")
CHOICES = """Choices the paper leaves open (optimiser, chunks, epochs, UBM covariance, what trains PLDA) are marked
(choice) in the conf files.""".replace("\n", " ")
DURATIONS = """Duration classes: nearest of 30, 100 and 300 s in log duration of the header's length; the paper does not
say how it divides.""".replace("\n", " ")

# {corpus: why figures on the paper's own trials differ from the paper's, one line each}
DIFFERENCES: dict[str, list[str]] = {
    "voxceleb": [
        "Training data: VoxCeleb1 dev as it is today (1 211 speakers); the paper found 1 206 and 140 286 segments.",
        f"{AUGMENTATION}.",
        CHOICES,
    ],
    "sre12": [
        "Training data: the corpora given to this run; the paper's are SRE04-10, Switchboard and Fisher English.",
        f"{AUGMENTATION}; AMR where an encoder is at hand.",
        DURATIONS,
        CHOICES,
    ],
}


def differences(corpus: str) -> list[str]:
    """Why our figures differ from the paper's on its own trials."""
    return DIFFERENCES.get(corpus, [])
