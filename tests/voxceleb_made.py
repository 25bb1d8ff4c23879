"""Trees of VoxCeleb 1 and 2 in every layout, with lists and metadata."""

from prep_trees import m4a, wav

from local import prep_voxceleb

VIDEOS = ("-a_b-c_d-e_", "ZZz0123456_")  # 11 characters each, with the separators that ids are full of
SPEAKERS = {
    "id10001": ("Ada_Lovelace", "f", "dev"),
    "id10002": ("Bob_Dylan", "m", "dev"),
    "id10270": ("Eve_Arden", "f", "test"),
    "id10271": ("Eric_Blore", "m", "test"),
}
LAYOUTS = {
    "apart": {"dev": "dev/wav", "test": "test/wav"},
    "together": {"dev": "wav", "test": "wav"},
    "below voxceleb1": {"dev": "voxceleb1/dev/wav", "test": "voxceleb1/test/wav"},
    "roots named voxceleb1": {"dev": "voxceleb1/dev", "test": "voxceleb1/test"},
}


def meta(path, separator="\t"):
    """vox1_meta.csv: tabs, nationalities with spaces."""
    rows = [("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")]
    rows += [(speaker, name, gender, "New Zealand", part) for speaker, (name, gender, part) in SPEAKERS.items()]
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")


def trials(path, lines):
    """A list of lines `label path path`."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def clip(speaker, video=0, number=1):
    """A clip as lists name it."""
    return f"{speaker}/{VIDEOS[video]}/{number:05d}.wav"


LIST_O = [
    f"1 {clip('id10270')} {clip('id10270', 1)}",
    f"0 {clip('id10270')} {clip('id10271', 1)}",
    f"1 {clip('id10271', 0, 2)} {clip('id10271', 1)}",
]


def make_tree(root, layout="apart", with_list=True):
    """A VoxCeleb1 v1.1 tree: 4 speakers x 2 videos x 2 clips."""
    for index, (speaker, (_, _, part)) in enumerate(SPEAKERS.items()):
        for video in (0, 1):
            for number in (1, 2):
                wav(root / LAYOUTS[layout][part] / clip(speaker, video, number), 4 * index + 2 * video + number)
    meta(root / "vox1_meta.csv")
    if with_list:
        trials(root / "veri_test.txt", LIST_O)
    return root


def prepare(root, data, *options):
    """Exit code of the preparation."""
    return prep_voxceleb.main(["--root", str(root), "--data", str(data), *options])


def voxceleb2(root, form="wav", place="dev/{}"):
    """A VoxCeleb2 tree with metadata separated by commas and stray spaces; m4a: headers of 3 AAC frames."""
    for index, speaker in enumerate(("id00012", "id00015")):
        for video in VIDEOS:
            clip = root / place.format(form) / speaker / video / "00001"
            wav(f"{clip}.wav", index) if form == "wav" else m4a(f"{clip}.m4a", 3)
    (root / "vox2_meta.csv").write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00015 ,n000015 ,f ,dev \n"
    )
    return root
