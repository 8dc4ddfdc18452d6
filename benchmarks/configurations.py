"""Configurations of published architectures, and of smaller ones of their shapes.

Nothing is imported for them, so that a process whose memory is measured may have them.
"""

from typing import Any

Settings = dict[str, Any]
"""Arguments of a configuration of transformers, or of a model of diffusers."""

BERT_BASE: Settings = dict(
    vocab_size=30522, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
)
RESNET_50: Settings = dict(
    embedding_size=64, hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 6, 3], num_labels=1000
)
QWEN3_100M: Settings = dict(
    vocab_size=32000, hidden_size=640, intermediate_size=1920, num_hidden_layers=12,
    num_attention_heads=10, num_key_value_heads=5, head_dim=64,
)  # fmt: skip
RESNET_152: Settings = dict(
    embedding_size=64, hidden_sizes=[256, 512, 1024, 2048], depths=[3, 8, 36, 3], num_labels=1000
)
MOBILENET_V2: Settings = dict(num_labels=1001)
VIT_BASE: Settings = dict(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    image_size=224, patch_size=16, num_labels=1000,
)  # fmt: skip
BERT_LARGE: Settings = dict(
    vocab_size=30522, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16
)
GPT2: Settings = dict(vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024)
QWEN3_8B: Settings = dict(
    vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
    num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=40960,
    rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=1_000_000.0),
)  # fmt: skip
LLAMA_3_8B: Settings = dict(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192,
    rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=500_000.0),
)  # fmt: skip
WHISPER_TINY: Settings = dict(
    vocab_size=51865, d_model=384, num_mel_bins=80, max_source_positions=1500, max_target_positions=448,
    encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536,
    decoder_layers=4, decoder_attention_heads=6, decoder_ffn_dim=1536,
)  # fmt: skip
T5_SMALL: Settings = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8)
STABLE_DIFFUSION_UNET: Settings = dict(
    sample_size=64, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8, cross_attention_dim=768
)
STABLE_DIFFUSION_DECODER: Settings = dict(
    sample_size=512, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)  # fmt: skip
