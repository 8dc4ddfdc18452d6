"""Calibration as a person runs it: interrupted, on a faulty device, over several machines, on a cluster."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from numerics.local import LocalDevice, reordered
from tao.commands.main import main
from tao.errors import ProfileError
from tao.model import ModelBundle, trace
from tao.numerics.calibrate import Settings, calibrate_on
from tao.numerics.dot import THETA_ONE
from tao.numerics.measure import judge_end
from tao.numerics.merge import merge
from tao.numerics.noise import NoisySegment
from tao.numerics.pairs import segment_envelope
from tao.numerics.profile import Profile
from tao.numerics.statistics import GRID
from tao.numerics.theta import has_constant


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(40, 64), nn.LayerNorm(64), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.second(torch.relu(self.norm(self.first(x)))), -1)


def sample(seed: int) -> tuple[Tensor]:
    return (torch.randn(16, 40, generator=torch.Generator().manual_seed(seed)),)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(1)
    return trace(Net(), sample(0))


def devices(bundle: ModelBundle, count: int = 3) -> list[LocalDevice]:
    return [LocalDevice("plain", bundle)] + [
        LocalDevice(f"reordered-{seed}", bundle, reordered(seed)) for seed in range(1, count)
    ]


SETTINGS = Settings(fan_out=3)
INPUTS = [sample(1), sample(2), sample(3)]


class Killed(BaseException):
    """As if the process had ended here."""


def test_an_interrupted_calibration_goes_on_where_it_was_and_ends_alike(bundle, tmp_path):
    count = len(bundle.graph)

    def kill(done, of):
        if done == count + 3:
            raise Killed

    with pytest.raises(Killed):
        calibrate_on(devices(bundle), bundle, INPUTS, kill, SETTINGS, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 1
    (tmp_path / "half.part").write_bytes(b"{")  # what a kill in the middle of a write leaves
    again, seen = devices(bundle), []
    resumed = calibrate_on(again, bundle, INPUTS, lambda *p: seen.append(p), SETTINGS, tmp_path)
    assert seen[0] == (count, 3 * count) and seen[-1] == (3 * count, 3 * count)
    assert again[0].requests.count("step") == 2 * count
    assert resumed == calibrate_on(devices(bundle), bundle, INPUTS, settings=SETTINGS)


@pytest.mark.parametrize("change", ["model", "input", "devices", "settings"])
def test_results_of_anything_else_are_not_used(bundle, tmp_path, change):
    calibrate_on(devices(bundle), bundle, INPUTS[:1], settings=SETTINGS, work_dir=tmp_path)
    inputs, settings, count, model = INPUTS[:1], SETTINGS, 3, bundle
    if change == "model":
        model = replace(bundle, parameters=(bundle.parameters[0] + 1, *bundle.parameters[1:]))
    elif change == "input":
        inputs = [sample(9)]
    elif change == "devices":
        count = 4
    else:
        settings = replace(SETTINGS, fan_out=4)
    others = devices(model, count)
    calibrate_on(others, model, inputs, settings=settings, work_dir=tmp_path)
    assert others[0].requests.count("step") == len(bundle.graph)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_result_that_was_tampered_with_is_refused(bundle, tmp_path):
    calibrate_on(devices(bundle), bundle, INPUTS[:1], settings=SETTINGS, work_dir=tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ProfileError, match=f"not JSON.*; delete {path}"):
        calibrate_on(devices(bundle), bundle, INPUTS[:1], settings=SETTINGS, work_dir=tmp_path)


# ---- a faulty device ----


def faulty(target: str):
    """Rounds the outputs of one operator to the 11 bits of TF32."""

    def override(index, node, operands, outputs):
        return [y.half().float() for y in outputs] if target in node.target else outputs

    return override


@pytest.mark.parametrize("target", ["linear", "layer_norm", "softmax"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_faulty_device_is_named_with_the_operator_and_not_absorbed(bundle, target, place):
    honest = devices(bundle)
    fleet = [*honest[:place], LocalDevice("broken", bundle, faulty(target)), *honest[place:]]
    index = next(i for i, node in enumerate(bundle.graph.nodes) if target in node.target)
    with pytest.raises(ProfileError) as caught:
        calibrate_on(fleet, bundle, INPUTS, settings=SETTINGS)
    assert f"device 'broken' is far from all others at node {index} " in str(caught.value)
    assert bundle.graph.names[index] in str(caught.value)


def test_a_device_that_gives_other_integers_is_named(bundle):
    class Arg(nn.Module):
        def forward(self, x):
            return x.argmax(-1)

    model = trace(Arg(), sample(0))
    wrong = LocalDevice("broken", model, lambda index, node, operands, outputs: [y + 1 for y in outputs])
    fleet = [LocalDevice("one", model), wrong, LocalDevice("two", model)]
    with pytest.raises(ProfileError, match="device 'broken'"):
        calibrate_on(fleet, model, INPUTS)
    with pytest.raises(ProfileError, match="disagree on an integer"):  # of two, which one is wrong?
        calibrate_on(fleet[:2], model, INPUTS)


def test_devices_that_differ_alike_are_all_honest(bundle):
    spread = [LocalDevice(f"d{s}", bundle, reordered(s, ulps=4.0 * s)) for s in range(4)]
    assert calibrate_on(spread, bundle, INPUTS[:1], settings=SETTINGS).samples == 1


# ---- segments and theta ----


def test_every_segment_gets_thresholds_that_hold_for_a_device_left_out(bundle):
    profile = calibrate_on(devices(bundle), bundle, INPUTS, settings=SETTINGS)
    assert [(s.lo, s.hi) for s in profile.segments] == [(0, 5), (0, 2), (2, 4)]
    judge, prover = devices(bundle)[0], LocalDevice("other", bundle, reordered(77))
    for device in (judge, prover):
        device.start("begin", list(sample(50)))
    own, claimed = (device.worker.segment(5) for device in (judge, prover))
    noise = NoisySegment(bundle.graph, bundle.parameters, 0, sample(50), 5)
    assert 0 < judge_end(profile, noise, claimed, own)[1] <= 1
    assert judge_end(profile, noise, [y + 1e-4 for y in claimed], own)[1] > 1


class Chosen(nn.Module):
    """A row looked up by the largest of eight numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.rows = nn.Linear(8, 8), nn.Embedding(8, 4)

    def forward(self, x):
        return 2 * self.rows(self.gate(x).argmax(-1))


def test_a_tie_and_a_quiet_replay_widen_no_threshold():
    """One device breaks a tie another way, and all devices are exact by chance on one number: what the random replays
    show counts."""
    torch.manual_seed(2)
    bundle = trace(Chosen(), (torch.randn(1, 8),))
    x = torch.randn(1, 8, generator=torch.Generator().manual_seed(3))
    gate, bias = (each.double() for each in bundle.parameters[:2])
    first, second = (x.double() @ gate.T + bias)[0].topk(2).indices.tolist()
    apart = gate[first] - gate[second]
    gap = (
        (x.double() @ gate.T + bias)[0][first] - (x.double() @ gate.T + bias)[0][second]
    ) / apart.square().sum()
    x = (x.double() - apart * gap).float()
    noise = NoisySegment(bundle.graph, bundle.parameters, 0, (x,), len(bundle.graph))
    (exact,) = noise.exact
    (turned,) = next(noise.turned())
    elements, rows = segment_envelope([[exact.float()], [turned.float()]], noise, GRID)
    assert not torch.equal(turned, exact) and max(elements + rows) <= 1


def test_what_random_replays_show_is_noise_though_all_devices_agree():
    torch.manual_seed(2)
    bundle = trace(nn.Sequential(nn.Linear(8, 1), nn.Linear(1, 1)), (torch.randn(1, 8),))
    x = torch.randn(1, 8, generator=torch.Generator().manual_seed(3))
    noise = NoisySegment(bundle.graph, bundle.parameters, 0, (x,), len(bundle.graph))
    (exact,) = noise.exact
    quiet = exact.float()
    loud = (exact + max(abs(float(end - exact)) for (end,) in noise.drawn())).float()
    elements, _ = segment_envelope([[quiet], [loud]], noise, GRID)
    assert 0.5 < max(elements) < 5


def test_theta_is_of_operators_with_a_bound_and_grows_with_the_safety_factor(bundle):
    thetas = [
        node.theta for node in calibrate_on(devices(bundle), bundle, INPUTS[:2], settings=SETTINGS).nodes
    ]
    assert [theta > 0 for theta in thetas] == [has_constant(node) for node in bundle.graph.nodes]
    assert all(theta / THETA_ONE < 100 for theta in thetas)
    double = replace(SETTINGS, safety=2 * SETTINGS.safety)
    twice = [node.theta for node in calibrate_on(devices(bundle), bundle, INPUTS[:2], settings=double).nodes]
    assert all(one <= two <= 2 * one + 2 for one, two in zip(thetas, twice, strict=True))


# ---- merging ----


def test_merging_gives_the_envelope_of_all_inputs_and_machines(bundle):
    parts = [calibrate_on(devices(bundle), bundle, [x], settings=SETTINGS) for x in INPUTS]
    whole = merge(parts)
    assert whole == calibrate_on(devices(bundle), bundle, INPUTS, settings=SETTINGS)
    for index, node in enumerate(whole.nodes):
        assert node.absolute[-1] == max(part.nodes[index].absolute[-1] for part in parts)
    other = replace(parts[0], devices=(replace(parts[0].devices[0], name="elsewhere"),))
    assert [device.name for device in merge([parts[1], other]).devices][-1] == "elsewhere"


def test_what_only_one_profile_has_is_left_out(bundle):
    profile = calibrate_on(devices(bundle), bundle, INPUTS[:1], settings=SETTINGS)
    with_theta = replace(profile, nodes=tuple(replace(node, theta=5) for node in profile.nodes))
    fewer = replace(with_theta, segments=profile.segments[1:])
    merged = merge([with_theta, fewer])
    assert merged.segments == profile.segments[1:] and {node.theta for node in merged.nodes} == {5}
    without = replace(profile, nodes=tuple(replace(node, theta=0) for node in profile.nodes))
    assert {node.theta for node in merge([with_theta, without]).nodes} == {0}


def test_profiles_that_do_not_belong_together_do_not_merge(bundle):
    profile = calibrate_on(devices(bundle), bundle, INPUTS[:1], settings=SETTINGS)
    with pytest.raises(ProfileError, match="of graph"):
        merge([profile, replace(profile, graph_root=bytes(32))])
    with pytest.raises(ProfileError, match="different grids or safety"):
        merge([profile, replace(profile, safety=5.0)])
    with pytest.raises(ProfileError, match="no profile"):
        merge([])


def test_the_command_merges_files_and_tells_which_one_is_bad(bundle, tmp_path):
    parts = [calibrate_on(devices(bundle), bundle, [x], settings=SETTINGS) for x in INPUTS[:2]]
    paths = [tmp_path / f"{number}.json" for number in range(2)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part.to_json())
    out = tmp_path / "merged.json"
    words = ["calibrate", "--merge", *map(str, paths), "--out", str(out)]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert Profile.from_json(out.read_bytes()) == merge(parts)
    record = json.loads(paths[1].read_bytes())
    record["nodes"][0]["absolute"][0] = -1.0
    paths[1].write_text(json.dumps(record))
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1 and "1.json" in result.output and "negative" in result.output
    result = CliRunner().invoke(main, [*words[:2], str(tmp_path / "none.json"), *words[3:]])
    assert result.exit_code == 1 and "cannot be read" in result.output


MODEL = """
import torch
def build():
    torch.manual_seed(3)
    inputs = [(torch.randn(8, 40, generator=torch.Generator().manual_seed(i)),) for i in range(2)]
    return torch.nn.Sequential(torch.nn.Linear(40, 24), torch.nn.Softmax(-1)), inputs
"""


def test_the_command_calibrates_on_the_kernels_chosen_and_keeps_its_work(tmp_path):
    source, out = tmp_path / "model.py", tmp_path / "out" / "profile.json"
    source.write_text(MODEL)
    words = ["calibrate", f"{source}:build", "--variant", "native", "--variant", "numpy", "--out", str(out)]
    words += ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work"), "--fan-out", "2"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    profile = Profile.from_json(out.read_bytes())
    assert [device.name for device in profile.devices] == ["native", "numpy"] and profile.samples == 2
    assert "torch" in profile.devices[0].description and [(s.lo, s.hi) for s in profile.segments] == [(0, 2)]
    assert len(list((tmp_path / "work").glob("*.json"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.py:f", "b.py:g"], "give one FILE.py:FUNCTION"),
        (["a.py:f", "--ray", "x", "--variant", "native"], "this machine's kernels"),
        (["missing.py:f"], "there is no file missing.py"),
    ],
)
def test_a_wrong_call_of_the_command_is_told_in_one_sentence(words, message, tmp_path):
    result = CliRunner().invoke(main, ["calibrate", *words, "--out", str(tmp_path / "p.json")])
    assert result.exit_code != 0 and message in result.output
