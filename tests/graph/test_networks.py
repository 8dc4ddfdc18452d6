"""The networks that are counted: published sizes, graphs without values, and the bits of eager when small."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from benchmarks import networks
from benchmarks.networks import Network
from graph.elements import check_maps
from tao.execution import Executor
from tao.graph import Graph, export, operators

PUBLISHED_SIZES = {
    "ResNet-152": 60_192_808,
    "MobileNetV2": 3_506_153,  # with the class "background" that the original has
    "ViT-base": 86_567_656,
    "BERT-large": 335_143_938,
    "GPT-2": 124_439_808,
    "Qwen3-8B": 8_190_735_360,
    "Llama-3-8B": 8_030_261_248,
    "Whisper-tiny": 37_760_640,
    "T5-small": 60_506_624,
    "Stable Diffusion 1.5 U-Net": 859_520_964,
    "Stable Diffusion 1.5 decoder": 49_490_199,
}

TEXT = dict(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
IMAGE = {k: v for k, v in TEXT.items() if k != "vocab_size"} | dict(image_size=32, patch_size=16)
GROUPED = TEXT | dict(num_key_value_heads=2, head_dim=8, max_position_embeddings=24)


def small_whisper() -> Network:
    return networks.speech_recogniser(
        dict(vocab_size=61, d_model=24, num_mel_bins=5, max_source_positions=10, max_target_positions=9,
             encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
             decoder_attention_heads=2, decoder_ffn_dim=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
             decoder_start_token_id=3),
        length=7,
    )  # fmt: skip


def small_unet() -> Network:
    return networks.denoiser(
        dict(block_out_channels=(16, 24), layers_per_block=1, norm_num_groups=8, attention_head_dim=4,
             cross_attention_dim=12, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
             up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        size=8, prompt=5,
    )  # fmt: skip


def small_decoder() -> Network:
    return networks.image_decoder(
        dict(block_out_channels=(16, 24), norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 2,
             up_block_types=("UpDecoderBlock2D",) * 2),
        size=4,
    )  # fmt: skip


NEW: dict[str, Callable[[], Network]] = {
    "mobilenet": lambda: networks.image_classifier("MobileNetV2", dict(depth_multiplier=0.25), size=32),
    "whisper": small_whisper,
    "t5": lambda: networks.translator(
        dict(vocab_size=61, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4), source=9, target=6
    ),
    "unet": small_unet,
    "decoder": small_decoder,
}

SMALL: dict[str, Callable[[], Network]] = NEW | {
    "resnet": lambda: networks.image_classifier(
        "ResNet", dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]), size=32
    ),
    "vit": lambda: networks.image_classifier("ViT", IMAGE, size=32),
    "bert": lambda: networks.text_classifier("Bert", TEXT, length=7),
    "gpt2": lambda: networks.language_model(
        "GPT2", "LMHeadModel", dict(vocab_size=61, n_embd=32, n_layer=1, n_head=4, n_positions=24), length=7
    ),
    "qwen3": lambda: networks.language_model("Qwen3", "ForCausalLM", GROUPED, length=7),
    "llama": lambda: networks.language_model("Llama", "ForCausalLM", GROUPED, length=7),
}


@cache
def small(name: str) -> Network:
    torch.manual_seed(3)
    return SMALL[name]()


@cache
def exported(name: str) -> tuple[Graph, dict[str, torch.Tensor]]:
    return export(small(name).module, small(name).args)


@pytest.mark.parametrize("name", NEW)
def test_small_network_runs_with_the_bits_of_eager_execution(name: str) -> None:
    network = small(name)
    graph, parameters = exported(name)
    (output,) = Executor(graph, tuple(parameters.values())).run(network.args)
    with torch.no_grad():
        expected = network.module(*network.args)
    assert expected.isfinite().all() and expected.std() > 0
    assert output.dtype == torch.float32 and torch.equal(output, expected)


@pytest.mark.parametrize("name", NEW)
def test_every_operator_has_maps_to_the_elements_that_decide_its_outputs(name: str) -> None:
    network = small(name)
    graph, parameters = exported(name)
    assert check_maps(graph, tuple(parameters.values()), network.args) == {n.operator for n in graph.nodes}


@pytest.mark.parametrize("name", SMALL)
def test_network_without_values_has_the_same_graph(name: str) -> None:
    shapes = networks.without_values(SMALL[name])
    graph, _ = export(shapes.module, shapes.args)
    assert graph.root == exported(name)[0].root


@pytest.mark.parametrize("name", SMALL)
def test_attention_is_made_of_its_parts(name: str) -> None:
    graph, _ = exported(name)
    assert operators.ATTENTION not in {node.target for node in graph.nodes}


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_network_has_its_published_number_of_parameters_and_no_memory(name: str) -> None:
    network = networks.build(name)
    assert sum(parameter.numel() for parameter in network.module.parameters()) == PUBLISHED_SIZES[name]
    tensors = (*network.args, *network.module.state_dict().values())
    assert all(isinstance(tensor, FakeTensor) for tensor in tensors)
