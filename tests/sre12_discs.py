"""A small SRE12 delivery: tables, key, recordings."""

import itertools

import numpy as np
import pytest
import sphere
from prep_trees import put, speech, sph

TABLES = "docs/NIST_SRE12_target_speaker_tables_v{}/NIST_SRE12{}_target_speaker_2_files_map.v{}.txt"
SPEAKERS = "docs/NIST_SRE12_target_speaker_tables_v{}/NIST_SRE12_speakertable.v{}.csv"
KEY = "docs/NIST_SRE12_core_trial_key.v1.csv"
SEGMENTS = {"taaaho": 30.0, "tbbbho": 100.0}  # calls: name, seconds
INTERVIEW = ("mic_int/tcaaaa-tdzzzz", "tccckk", 200.0)  # where, name, seconds: 16 kHz pcm
TYPES = {"a1": "target", "a2": "known_target", "b1": "known_nontarget", "b2": "unknown_non-target"}


def key_line(target, segment, side, kind, flags):
    """One line of the key, as NIST writes paths."""
    place = INTERVIEW[0] if segment == INTERVIEW[1] else "tel_phn/taaaho-tfdwxt"
    return f"{target},data/{place}/{segment}_sre12.sph,{side},{kind},x,{','.join(flags)}"


LINES = [
    key_line("4001", "taaaho", "a", "target", "NYNNN"),
    key_line("4002", "taaaho", "a", "known_nontarget", "NYNNN"),
    key_line("4001", "taaaho", "b", "unknown_nontarget", "NYNNY"),
    key_line("4003", "tbbbho", "b", "known_target", "NYNNY"),
    key_line("4002", "tccckk", "a", "target", "YNNYN"),
    key_line("4003", "tccckk", "a", "known_nontarget", "YNNYN"),
    key_line("4001", "tccckk", "b", "known_nontarget", "NNNNN"),
]


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """SRE12, SRE08 with enrolment recordings (one name twice), and a CTS superset; do not change."""
    top = tmp_path_factory.mktemp("discs")
    sre12, sre08, cts = top / "sre12", top / "sre08", top / "cts"
    for segment, seconds in SEGMENTS.items():
        sph(sre12 / f"data/tel_phn/taaaho-tfdwxt/{segment}_sre12.sph", seconds)
    interview = np.zeros((round(16000 * INTERVIEW[2]), 2), np.int16)
    interview[:16000, 0] = speech(16000)
    (sre12 / "data" / INTERVIEW[0]).mkdir(parents=True)
    sphere.write(sre12 / "data" / INTERVIEW[0] / f"{INTERVIEW[1]}_sre12.sph", interview, 16000, "pcm", order="10")
    for name in ("short2/faaaa", "short2/fbbbb", "long/faaaa", "short2/fcccc"):
        sph(sre08 / f"NIST_SRE08/data/{name}.sph")
    put(
        sre12 / TABLES.format("2.1", "", "2.1"),
        "4001 NIST_SRE08/data/long/faaaa.sph:b,NIST_SRE08/data/short2/fbbbb.sph:A",
        "4002\tNIST_SRE08/data/short2/faaaa.sph:a,NIST_SRE08/data/summed/fzzzz.sph:a",
    )
    put(sre12 / SPEAKERS.format("2.1", "2"), "id,gender,year,x,y,language", "4001,M,1950,,,USE", "4002,female,,,,")
    put(
        sre12 / TABLES.format("3", "_evaluation_release", "3"),
        "4002 NIST_SRE08/data/short2/faaaa.sph:a,NIST_SRE08/data/short2/fbbbb.sph:b,NIST_SRE08/data/summed/fzzzz.sph:a",
        "4003 NIST_SRE08/data/short2/fcccc.sph:a",
    )
    put(sre12 / SPEAKERS.format("3", "3"), "id,gender,year,x,y,language", "4003,f,1960,,,USE")
    put(sre12 / KEY, "model,segment,side,kind,x,one,two,three,four,five", *LINES)
    rows = [f"f\t{speaker}_{n}\ts\t{speaker}\tx\ty\tz\tmx{n}" for speaker in (7001, 7002) for n in (3, 4)]
    put(cts / "docs/cts_superset_segment_key.tsv", "c0\tc1\tc2\tc3\tc4\tc5\tc6\tc7", *rows)
    for speaker, n in itertools.product((7001, 7002), (3, 4)):
        sph(cts / f"data/{speaker}_{n}.sph", channels=1)
    return top
