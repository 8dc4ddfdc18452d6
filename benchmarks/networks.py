"""The networks whose operators are counted: published architectures, built from configurations, no weights.

Every network takes tensors and returns one tensor. Attention is the plain one, matmul, softmax, matmul, so
that its parts are operators. `build` makes a network of NETWORKS out of fake tensors, which have shapes and
types but no values; the functions before it make real ones too, of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from benchmarks.configurations import (
    BERT_LARGE,
    GPT2,
    LLAMA_3_8B,
    MOBILENET_V2,
    QWEN3_8B,
    RESNET_152,
    STABLE_DIFFUSION_DECODER,
    STABLE_DIFFUSION_UNET,
    T5_SMALL,
    VIT_BASE,
    WHISPER_TINY,
    Settings,
)
from tao.model import ModelBundle, trace


@dataclass(frozen=True)
class Network:
    """A module in evaluation mode and example inputs, float32 or int64, with which it is traced."""

    module: nn.Module
    args: tuple[Tensor, ...]


class OneTensor(nn.Module):
    """Passes tensors to a module as the arguments `inputs`, and returns one field of its result."""

    def __init__(self, module: nn.Module, inputs: tuple[str, ...], output: str, **fixed: Any) -> None:
        super().__init__()
        self.module, self.inputs, self.output, self.fixed = module, inputs, output, fixed

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.inputs, tensors, strict=True))
        return getattr(self.module(**given, **self.fixed), self.output)


class Decoder(nn.Module):
    """The half of an autoencoder that turns latents into an image."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.adapter, self.decoder = autoencoder.post_quant_conv, autoencoder.decoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.adapter(latents))


def image_classifier(kind: str, settings: Settings, size: int = 224) -> Network:
    """A classifier of transformers, such as ResNet: image [1, 3, size, size] to logits."""
    module = _transformer(kind, "ForImageClassification", settings)
    return Network(OneTensor(module, ("pixel_values",), "logits"), (torch.randn(1, 3, size, size),))


def text_classifier(kind: str, settings: Settings, length: int) -> Network:
    """An encoder with a classifying head: token ids and attention mask, [1, length] each, to logits."""
    module = _transformer(kind, "ForSequenceClassification", settings)
    inputs = (_tokens(settings, length), torch.ones(1, length, dtype=torch.int64))
    return Network(OneTensor(module, ("input_ids", "attention_mask"), "logits"), inputs)


def language_model(kind: str, head: str, settings: Settings, length: int) -> Network:
    """A causal language model without a cache: token ids [1, length] to logits of every position."""
    module = _transformer(kind, head, settings)
    wrapped = OneTensor(module, ("input_ids",), "logits", use_cache=False)
    return Network(wrapped, (_tokens(settings, length),))


def speech_recogniser(settings: Settings, length: int) -> Network:
    """Whisper, the encoder and one pass of the decoder: mel spectrogram of the full window, and token ids
    [1, length], to logits of every position."""
    module = _transformer("Whisper", "ForConditionalGeneration", settings)
    frames = 2 * settings["max_source_positions"]  # the second convolution halves them
    inputs = (torch.randn(1, settings["num_mel_bins"], frames), _tokens(settings, length))
    names = ("input_features", "decoder_input_ids")
    return Network(OneTensor(module, names, "logits", use_cache=False), inputs)


def translator(settings: Settings, source: int, target: int) -> Network:
    """T5, the encoder and one pass of the decoder: token ids [1, source] and [1, target] to logits."""
    module = _transformer("T5", "ForConditionalGeneration", settings)
    inputs = (_tokens(settings, source), _tokens(settings, target))
    names = ("input_ids", "decoder_input_ids")
    return Network(OneTensor(module, names, "logits", use_cache=False), inputs)


def denoiser(settings: Settings, size: int, prompt: int) -> Network:
    """The U-Net of a latent diffusion model: latents [1, channels, size, size], timestep [1] and text states
    [1, prompt, width] to noise of the shape of the latents."""
    from diffusers import UNet2DConditionModel

    module = _plain_attention(UNet2DConditionModel(**settings))
    latents = torch.randn(1, module.config.in_channels, size, size)
    text = torch.randn(1, prompt, settings["cross_attention_dim"])
    names = ("sample", "timestep", "encoder_hidden_states")
    return Network(OneTensor(module, names, "sample").eval(), (latents, torch.randint(1000, (1,)), text))


def image_decoder(settings: Settings, size: int) -> Network:
    """The decoder of a variational autoencoder: latents [1, channels, size, size] to an image."""
    from diffusers import AutoencoderKL

    module = _plain_attention(AutoencoderKL(**settings))
    return Network(Decoder(module).eval(), (torch.randn(1, module.config.latent_channels, size, size),))


def _transformer(kind: str, head: str, settings: Settings) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{kind}Config")(**settings)
    config._attn_implementation = "eager"
    module = getattr(transformers, f"{kind}{head}")(config).eval()
    module.tie_weights()  # a part of initialisation, which there is none of without values
    return module


def _tokens(settings: Settings, length: int) -> Tensor:
    return torch.randint(settings["vocab_size"], (1, length))


def _plain_attention(module: nn.Module) -> nn.Module:
    """The module with the plain attention. That of diffusers adds uninitialised memory times zero to the
    scores, which is no function of its inputs; here the scores are a product and a scale."""
    from diffusers.models.attention_processor import Attention, AttnProcessor

    module.set_attn_processor(AttnProcessor())
    for child in module.modules():
        if isinstance(child, Attention):
            child.get_attention_scores = MethodType(_attention_scores, child)
    return module


def _attention_scores(attention: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = torch.bmm(query, key.transpose(1, 2)) * attention.scale
    return (scores if mask is None else scores + mask).softmax(-1)


NETWORKS: dict[str, Callable[[], Network]] = {
    "ResNet-152": lambda: image_classifier("ResNet", RESNET_152),
    "MobileNetV2": lambda: image_classifier("MobileNetV2", MOBILENET_V2),
    "ViT-base": lambda: image_classifier("ViT", VIT_BASE),
    "BERT-large": lambda: text_classifier("Bert", BERT_LARGE, length=128),
    "GPT-2": lambda: language_model("GPT2", "LMHeadModel", GPT2, length=128),
    "Qwen3-8B": lambda: language_model("Qwen3", "ForCausalLM", QWEN3_8B, length=128),
    "Llama-3-8B": lambda: language_model("Llama", "ForCausalLM", LLAMA_3_8B, length=128),
    "Whisper-tiny": lambda: speech_recogniser(WHISPER_TINY, length=448),
    "T5-small": lambda: translator(T5_SMALL, source=128, target=128),
    "Stable Diffusion 1.5 U-Net": lambda: denoiser(STABLE_DIFFUSION_UNET, size=64, prompt=77),
    "Stable Diffusion 1.5 decoder": lambda: image_decoder(STABLE_DIFFUSION_DECODER, size=64),
}


TOKENS = 30_000
"""Random token ids are below this, which every vocabulary here holds."""

Inputs = list[tuple[Tensor, ...]]


def random_network(make: Callable[[], Network], inputs: int, seed: int) -> tuple[ModelBundle, Inputs]:
    """A network with random weights, and so many inputs like its own: normal pixels, uniform token ids."""
    torch.manual_seed(seed)
    network = make()

    def draw(example: Tensor) -> Tensor:
        if example.is_floating_point():
            return torch.randn_like(example)
        is_mask = bool((example == 1).all())
        return example if is_mask else torch.randint_like(example, TOKENS)

    drawn = [tuple(map(draw, network.args)) for _ in range(inputs)]
    return trace(network.module, network.args), drawn


def build(name: str) -> Network:
    """One of NETWORKS, without values. Raises KeyError for another name."""
    return without_values(NETWORKS[name])


def without_values(make: Callable[[], Network]) -> Network:
    """What `make` gives, out of fake tensors, which take no memory.

    These are on the processor by name. On the meta device the constants that a module makes while it is
    traced, such as the zero of an attention mask, would lose their values, and they belong to the graph.
    """
    from transformers.initialization import no_init_weights

    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True), no_init_weights():
        return make()
