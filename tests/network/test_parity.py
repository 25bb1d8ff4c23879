"""The same weights give the same embeddings as the published implementations: SpeechBrain's ECAPA-TDNN, and WeSpeaker's
ResNet34 as pyannote.audio ships it. Needs conf/requirements-parity.txt; run with `tests/run.sh -m parity`."""

import pytest
import torch

from pyasp.network.model import ArchitectureOptions, Network

pytestmark = pytest.mark.parity
LENGTHS = (201, 60, 9, 133, 64)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(11)


def settled(theirs):
    """A random network whose batch norms have moments and scales of their own, in evaluation mode."""
    for module in theirs.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3), module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5), torch.nn.init.normal_(module.bias, 0, 0.3)
    return theirs.eval()


def norm(name, ours):
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{name}.{each}": f"{ours}.{each}" for each in names}


def layer(name, ours):
    """Convolution and batch norm of SpeechBrain's TDNN block in our layer."""
    affine = {f"{name}.conv.conv.{each}": f"{ours}.affine.{each}" for each in ("weight", "bias")}
    return affine | norm(f"{name}.norm.norm", f"{ours}.norm")


def ecapa_names():
    names = layer("blocks.0", "frames.first") | layer("mfa", "frames.aggregation")
    for k in range(3):
        theirs, ours = f"blocks.{k + 1}", f"frames.blocks.{k}"
        names |= layer(f"{theirs}.tdnn1", f"{ours}.before") | layer(f"{theirs}.tdnn2", f"{ours}.after")
        for group in range(7):
            names |= layer(f"{theirs}.res2net_block.blocks.{group}", f"{ours}.groups.{group}")
        for number, each in ((1, "squeeze"), (2, "excite")):
            names |= {
                f"{theirs}.se_block.conv{number}.conv.{part}": f"{ours}.excitation.{each}.{part}"
                for part in ("weight", "bias")
            }
    names |= norm("asp.tdnn.norm.norm", "pooling.norm") | norm("asp_bn.norm", "pooling.pooled_norm")
    for part in ("weight", "bias"):
        names |= {f"asp.conv.conv.{part}": f"pooling.score.{part}", f"fc.conv.{part}": f"embedding.affine.{part}"}
    return names | {"asp.tdnn.conv.conv.bias": "pooling.hidden.bias"}


def ecapa_weights(theirs):
    """SpeechBrain's weights under our names: kernels (out, in, taps) lie tap by tap, the attention's in two parts."""
    state = theirs.state_dict()
    attention = state.pop("asp.tdnn.conv.conv.weight").squeeze(2)
    weights = {ours: state.pop(name) for name, ours in ecapa_names().items()}
    assert not state
    channels = attention.shape[1] // 3
    weights |= {"pooling.hidden.weight": attention[:, :channels], "pooling.context.weight": attention[:, channels:]}
    return {name: value.transpose(1, 2).flatten(1) if value.ndim == 3 else value for name, value in weights.items()}


def resnet_names():
    names = {"conv1.weight": "frames.first.filters.weight"} | norm("bn1", "frames.first.norm")
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            theirs, ours = f"layer{stage + 1}.{block}", f"frames.stages.{stage}.{block}"
            for number, each in ((1, "first"), (2, "second")):
                names[f"{theirs}.conv{number}.weight"] = f"{ours}.{each}.filters.weight"
                names |= norm(f"{theirs}.bn{number}", f"{ours}.{each}.norm")
            if stage and not block:
                names[f"{theirs}.shortcut.0.weight"] = f"{ours}.shortcut.filters.weight"
                names |= norm(f"{theirs}.shortcut.1", f"{ours}.shortcut.norm")
    return names | {f"seg_1.{part}": f"embedding.affine.{part}" for part in ("weight", "bias")}


def resnet_weights(theirs):
    state = theirs.state_dict()
    weights = {ours: state.pop(name) for name, ours in resnet_names().items()}
    assert not state
    return weights


def recording(frames, dim):
    """(T, D), of another mean and deviation than the others."""
    return torch.randn(frames, dim) * (0.2 + 2 * torch.rand(dim)) + 2 * torch.randn(dim)


def speechbrain(small):
    ecapa = pytest.importorskip("speechbrain.lobes.models.ECAPA_TDNN")
    dim, sizes, size = (20, [64] * 4 + [96], 24) if small else (80, [1024] * 4 + [3072], 192)
    theirs = settled(ecapa.ECAPA_TDNN(dim, lin_neurons=size, channels=sizes))
    options = {"encoder": "ecapa", "pooling": "channel_attentive_statistics", "attention_dim": 128}
    options |= {"frame_dim": sizes[0], "pooling_dim": sizes[-1], "embedding_dim": size}
    return options, dim, ecapa_weights(theirs), lambda x: theirs(x).squeeze(1)


def wespeaker(small):
    resnet = pytest.importorskip("pyannote.audio.models.embedding.wespeaker.resnet")
    dim, width, size = (24, 4, 10) if small else (80, 32, 256)
    theirs = settled(resnet.ResNet(resnet.BasicBlock, [3, 4, 6, 3], width, dim, size, two_emb_layer=False))
    options = {"encoder": "resnet34", "pooling": "sample_statistics", "frame_dim": width, "embedding_dim": size}
    return options, dim, resnet_weights(theirs), lambda x: theirs(x)[-1]


@pytest.mark.parametrize("small", [True, False], ids=["small", "published"])
@pytest.mark.parametrize("published", [speechbrain, wespeaker])
@torch.inference_mode()
def test_the_same_weights_give_the_same_embeddings(published, small):
    options, dim, weights, theirs = published(small)
    ours = Network(ArchitectureOptions(**options), dim).eval()
    left = ours.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys and {name.rsplit(".", 1)[0] for name in left.missing_keys} == {"embedding.norm"}
    recordings = [recording(frames, dim) for frames in LENGTHS]
    expected = torch.cat([theirs(x[None]) for x in recordings])
    padded = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    same = torch.stack([recording(50, dim) for _ in range(3)])
    cases = {
        "single": (torch.cat([ours.embed(x[None]) for x in recordings]), expected),
        "padded": (ours.embed(padded, torch.tensor(LENGTHS)), expected),
        "batch": (ours.embed(same), theirs(same)),
    }
    for name, (found, wanted) in cases.items():
        deviation = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
        print(f"{published.__name__} {name}: {deviation.max():.1e}")
        assert deviation.max() < 1e-4, name
        apart = (wanted - wanted.mean(0)).norm(dim=1)  # what tells the recordings from each other
        assert ((found - wanted).norm(dim=1) < 1e-2 * apart).all(), name
