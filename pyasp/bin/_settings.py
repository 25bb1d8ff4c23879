"""Whether a run's tools can read its conf files, and whether these agree: told before any audio is read.

Each file is read as its tools will: by their options classes (`_stale.TOOLS`), whose rules are the only ones. What the
training set will decide (`auto`) may be anything that the rules of pyasp.data.fit give.
"""

from pathlib import Path
from typing import Any

from pyasp.bin._stale import MAKERS, TOOLS, Request, main_of, system_conf
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.data.fit import EXTREMES
from pyasp.features.frontend import FrontendOptions, output_dim
from pyasp.features.kinds import KINDS
from pyasp.features.mfcc import MelFeatures
from pyasp.ivector.train import IvectorOptions
from pyasp.network.model import ONNX
from pyasp.network.onnx import OnnxModel
from pyasp.training.options import NetworkOptions
from pyasp.training.trainer import init_of


def check(run: Request) -> None:
    """Reads every conf file that the run will read, a preparation's own aside.

    Raises InputError for what some stage would refuse: keys, values, files that are not there, files that contradict
    each other.
    """
    features_of(run, "mfcc")
    for system in run.systems:
        check_ivector(run) if system == "ivector" else check_network(run, system)
    for tool, each in TOOLS.items():
        of_ivector = each.conf in ("ubm.conf", "ivector.conf")
        unused = of_ivector and ("ivector" not in run.systems or run.ivector and tool.startswith("train_"))
        if each.conf and each.conf != "tdnn.conf" and each.stage != "prepare" and tool not in MAKERS and not unused:
            of_tool(run, tool)


def of_tool(run: Request, tool: str, system: str = "") -> Any:
    """Its options as a tool of records will read them; for a network those of its system over tdnn.conf."""
    return read(run, TOOLS[tool].conf, main_of(run, tool).options, system)


def read(run: Request, name: str, cls: type, system: str = "") -> Any:
    """The options in a conf file of the run. InputError where it is not there, or unfit whatever `auto` will be."""
    path, over = Path(run.conf) / name, [system_conf(run.conf, system)] if system else []
    if not path.is_file():
        raise InputError(path, "no such file", "the settings of a step", f"Copy one of conf/*/{name}")
    try:
        return read_conf(path, cls, *over, auto=EXTREMES[0])
    except InputError:
        return read_conf(path, cls, *over, auto=EXTREMES[1])


def features_of(run: Request, kind: str) -> MelFeatures:
    """What computes a kind of features. InputError where frames are not those of mfcc.conf, whose voice activity is
    every kind's."""
    options, mfcc = of_tool(run, f"make_{kind}"), of_tool(run, "make_mfcc")
    path = Path(run.conf) / f"{kind}.conf"
    for name in ("snip_edges", *(("frame_length",) if mfcc.snip_edges else ())):  # decide how many frames there are
        ours, theirs = getattr(options, name), getattr(mfcc, name)
        if ours != theirs:
            expected = f"{theirs}, as mfcc.conf beside it: they share its voice activity"
            raise InputError(path, str(ours), expected, "Correct one of them", item=f"--{name.replace('_', '-')}")
    try:
        return KINDS[kind].extractor(subset(options, KINDS[kind].options))
    except InputError as error:
        raise error.within(path) from None


def width(run: Request, path: Path, options: FrontendOptions) -> int:
    """Coefficients of a frame behind the front end that `path` sets. InputError where it takes more than are stored."""
    stored, where = features_of(run, options.feature_type).dim, Path(run.conf) / f"{options.feature_type}.conf"
    if options.num_ceps > stored:
        expected, cure = f"at most {stored}, what {where} stores", "Lower it, or have more stored"
        raise InputError(path, str(options.num_ceps), expected, cure, item="--num-ceps")
    return output_dim(stored, options)


def check_ivector(run: Request) -> None:
    """Whether ivector.conf goes with the features, as the UBM and the extractor read it."""
    width(run, Path(run.conf) / "ivector.conf", read(run, "ivector.conf", IvectorOptions))


def check_network(run: Request, system: str) -> None:
    """Whether a system's settings go with the features and the files that they name."""
    of_tool(run, "extract_embedding", system)
    options, path = subset(of_tool(run, "train_tdnn", system), NetworkOptions), system_conf(run.conf, system)
    dim = width(run, path, options)
    if options.init and Path(options.init).resolve().is_relative_to(run.exp.resolve()):
        return  # this run may make it
    try:
        init_of(options, run.exp / system)
        if options.encoder == ONNX:
            rate = int(of_tool(run, f"make_{options.feature_type}").sample_frequency)
            OnnxModel(Path(options.model).read_bytes(), options.model).settings(dim, rate)
    except InputError as error:
        raise error.within(path) from None
