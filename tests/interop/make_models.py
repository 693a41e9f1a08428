"""Writes small models with seeded weights, as transformers saves them, and a text to calibrate on.

    make_models.py FOLDER     makes FOLDER/FAMILY and FOLDER/text.txt
"""
import pathlib
import random
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

WORDS = "the cold press makes oil from ripe fruit and a stone in twelve rooms on hills with water".split()
VOCAB = 320
SIZES = dict(
    vocab_size=VOCAB, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    bos_token_id=0, eos_token_id=1, pad_token_id=1)

out = pathlib.Path(sys.argv[1])
random.seed(1)
lines = [" ".join(random.choice(WORDS) for _ in range(12)) + "." for _ in range(400)]
(out / "text.txt").write_text("\n".join(lines))

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
    vocab_size=VOCAB, special_tokens=["<s>", "</s>"], show_progress=False,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))

MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(head_dim=32, tie_word_embeddings=False, **SIZES), torch.bfloat16),
    "qwen3-tied": (Qwen3ForCausalLM, Qwen3Config(head_dim=32, tie_word_embeddings=True, **SIZES), torch.bfloat16),
    "qwen3-moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig(
        head_dim=32, tie_word_embeddings=False, moe_intermediate_size=64, num_experts=4,
        num_experts_per_tok=2, **SIZES), torch.bfloat16),
    "phi3-f16": (Phi3ForCausalLM, Phi3Config(tie_word_embeddings=False, **SIZES), torch.float16),
}
for number, (name, (kind, config, dtype)) in enumerate(MODELS.items()):
    torch.manual_seed(number)
    model = kind(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger than the default, so that logits differ by token
            parameter.data.normal_(0, 0.08)
    model.to(dtype).save_pretrained(out / name)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(
        out / name)
