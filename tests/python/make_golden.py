#!/usr/bin/env python3
"""Makes tests/golden: tiny random checkpoints with transformers' logits for them.

    make_golden.py OUT [NAME...]

Needs torch besides tests/python/requirements.txt, so the files are kept in the repository. Each
folder is what save_pretrained writes, and golden.safetensors: input_ids (1 x 24) and the fp32 logits
of the stored weights with eager attention.
"""
import os
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText

TEXT = dict(vocab_size=272, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            pad_token_id=0, bos_token_id=1, eos_token_id=2)
VISION = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
              image_size=8, patch_size=4, num_channels=3)
QWEN_VISION = dict(depth=1, num_heads=2, intermediate_size=16, patch_size=4, spatial_merge_size=2,
                   temporal_patch_size=2, in_channels=3, out_hidden_size=32)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=8192)
MROPE = dict(rope_type="default", rope_theta=1000000.0, mrope_section=[2, 1, 1])


def nested(kind, text_kind, text, vision_kind, vision, **more):
    return CONFIG_MAPPING[kind](
        text_config=CONFIG_MAPPING[text_kind](**{**TEXT, **text}).to_dict(),
        vision_config={**vision, "model_type": vision_kind}, **more)


def configs():
    local = dict(head_dim=8, query_pre_attn_scalar=8, sliding_window=8,
                 layer_types=["sliding_attention", "full_attention"])
    return {
        "gemma3-vision": lambda: nested(
            "gemma3", "gemma3_text", local, "siglip_vision_model", VISION,
            mm_tokens_per_image=4, image_token_index=270, boi_token_index=268, eoi_token_index=269),
        "llava": lambda: nested(
            "llava", "llama", dict(rope_parameters=LLAMA3), "clip_vision_model", VISION,
            image_token_index=270),
        "mistral3": lambda: nested(
            "mistral3", "mistral", dict(head_dim=8, sliding_window=None), "pixtral",
            dict(VISION, head_dim=8), image_token_index=270, tie_word_embeddings=False),
        "smolvlm": lambda: nested(
            "smolvlm", "llama", {}, "smolvlm_vision", VISION, image_token_id=270, scale_factor=2),
        "qwen2.5-vl": lambda: CONFIG_MAPPING["qwen2_5_vl"](
            text_config={**TEXT, "rope_parameters": MROPE}, vision_config=dict(
                QWEN_VISION, hidden_size=16, fullatt_block_indexes=[0], window_size=16),
            image_token_id=270, video_token_id=271, vision_start_token_id=268,
            vision_end_token_id=269, tie_word_embeddings=True),
        "qwen3-vl": lambda: CONFIG_MAPPING["qwen3_vl"](
            text_config={**TEXT, "head_dim": 8, "rope_parameters": MROPE}, vision_config=dict(
                QWEN_VISION, hidden_size=16, num_position_embeddings=16,
                deepstack_visual_indexes=[0]),
            image_token_id=270, video_token_id=271, vision_start_token_id=268,
            vision_end_token_id=269),
        "falcon-7b": lambda: CONFIG_MAPPING["falcon"](
            **TEXT, multi_query=True, new_decoder_architecture=False, parallel_attn=True,
            bias=False, alibi=False),
        "falcon-11b": lambda: CONFIG_MAPPING["falcon"](
            **TEXT, new_decoder_architecture=True, num_ln_in_parallel_attn=1, num_kv_heads=2,
            bias=False, alibi=False, ffn_hidden_size=96),
        "qwen3-moe-dense-blocks": lambda: CONFIG_MAPPING["qwen3_moe"](**{
            **TEXT, "num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 2,
            "moe_intermediate_size": 16, "head_dim": 8, "decoder_sparse_step": 2,
            "mlp_only_layers": [3], "norm_topk_prob": True}),
    }


def main():
    out, wanted = sys.argv[1], sys.argv[2:]
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, 264, (1, 24), generator=generator)
    for name, make in configs().items():
        if wanted and name not in wanted:
            continue
        config = make()
        config._attn_implementation = "eager"
        auto = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
        torch.manual_seed(sum(map(ord, name)))
        model = auto.from_config(config).float().eval()
        with torch.no_grad():
            for parameter_name, p in model.named_parameters():
                if p.dim() == 1:
                    p.add_(0.1 * torch.randn_like(p))  # norms and biases off their trivial values
                else:
                    p.mul_(20.0 if "embed" in parameter_name else 8.0)  # far from linear
            # Parameters only: what is computed from the configuration stays in fp32.
            for p in model.parameters():
                p.copy_(p.to(torch.bfloat16).float())
            logits = model(input_ids=ids, use_cache=False).logits
        folder = f"{out}/{name}"
        os.makedirs(folder, exist_ok=True)
        model.to(torch.bfloat16).save_pretrained(folder)
        if os.path.exists(f"{folder}/generation_config.json"):
            os.remove(f"{folder}/generation_config.json")
        save_file({"input_ids": ids.to(torch.int32), "logits": logits.contiguous()},
                  f"{folder}/golden.safetensors")
        print(name, sum(p.numel() for p in model.parameters()), f"std {logits.std():.3f}",
              f"{sum(os.path.getsize(f'{folder}/{f}') for f in os.listdir(folder))} bytes")


if __name__ == "__main__":
    main()
