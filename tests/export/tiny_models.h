// Small sources to export: a Llama of two blocks with seeded weights, as a Hugging Face folder (one
// shard or two) and as a GGUF file with some block-quantised tensors.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "tests/io/test_files.h"

namespace coldpress::test {

inline constexpr int64_t kHidden = 64;
inline constexpr int64_t kHeads = 4;
inline constexpr int64_t kKvHeads = 2;
inline constexpr int64_t kHeadDim = 16;
inline constexpr int64_t kFfn = 96;
inline constexpr int64_t kBlocks = 2;
inline constexpr int64_t kVocab = 264;  // the synthetic byte-level vocabulary's size

struct NamedShape {
  std::string hf;
  std::string gguf;
  std::vector<int64_t> shape;
};

inline std::vector<NamedShape> tiny_tensors() {
  std::vector<NamedShape> out = {
      {"model.embed_tokens.weight", "token_embd.weight", {kVocab, kHidden}},
      {"model.norm.weight", "output_norm.weight", {kHidden}},
      {"lm_head.weight", "output.weight", {kVocab, kHidden}}};
  for (int b = 0; b < kBlocks; ++b) {
    const std::string hf = "model.layers." + std::to_string(b) + ".";
    const std::string gguf = "blk." + std::to_string(b) + ".";
    const auto add = [&](const std::string& h, const std::string& g, std::vector<int64_t> shape) {
      out.push_back({hf + h + ".weight", gguf + g + ".weight", std::move(shape)});
    };
    add("input_layernorm", "attn_norm", {kHidden});
    add("self_attn.q_proj", "attn_q", {kHeads * kHeadDim, kHidden});
    add("self_attn.k_proj", "attn_k", {kKvHeads * kHeadDim, kHidden});
    add("self_attn.v_proj", "attn_v", {kKvHeads * kHeadDim, kHidden});
    add("self_attn.o_proj", "attn_output", {kHidden, kHeads * kHeadDim});
    add("post_attention_layernorm", "ffn_norm", {kHidden});
    add("mlp.gate_proj", "ffn_gate", {kFfn, kHidden});
    add("mlp.up_proj", "ffn_up", {kFfn, kHidden});
    add("mlp.down_proj", "ffn_down", {kHidden, kFfn});
  }
  return out;
}

// Seeded values, already rounded to `type`: near 1 for gains, small for matrices.
inline std::vector<float> tiny_values(const std::vector<int64_t>& shape, DType type,
                                      uint64_t seed) {
  std::size_t count = 1;
  for (const int64_t dim : shape) count *= static_cast<std::size_t>(dim);
  std::vector<float> values(count);
  Rng rng(seed);
  for (float& v : values) {
    v = static_cast<float>(shape.size() == 1 ? 1 + 0.1 * rng.normal() : 0.2 * rng.normal());
  }
  round_to_dtype(type, values);
  return values;
}

inline std::vector<std::byte> encoded(const std::vector<float>& values, DType type) {
  std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(dtype_size(type)));
  EXPECT_TRUE(encode_from_f32(type, values, bytes));
  return bytes;
}

inline std::string tiny_config(const std::string& dtype) {
  return R"({
  "architectures": ["LlamaForCausalLM"],  "model_type": "llama",
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
  "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
  "tie_word_embeddings": false, "vocab_size": 264, "eos_token_id": 262, "bos_token_id": null,
  "torch_dtype" : ")" +
         dtype + R"(",
  "note": "\"torch_dtype\": \"float64\""
})";
}

inline const char* torch_name(DType type) {
  if (type == DType::kF32) return "float32";
  return type == DType::kF16 ? "float16" : "bfloat16";
}

inline void write_hf_shard(const std::filesystem::path& path,
                           const std::vector<NamedShape>& tensors, std::size_t first,
                           std::size_t count, DType type) {
  std::vector<SafetensorsWriter::Declaration> declared;
  for (std::size_t i = first; i < first + count; ++i) {
    declared.push_back({tensors[i].hf, type, tensors[i].shape});
  }
  auto writer = SafetensorsWriter::create(path, declared, {{"format", "pt"}, {"by", "a test"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (std::size_t i = first; i < first + count; ++i) {
    const auto bytes = encoded(tiny_values(tensors[i].shape, type, i), type);
    ASSERT_TRUE(writer->write(tensors[i].hf, bytes).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

inline void write_tiny_hf(const std::filesystem::path& folder, DType type, bool sharded) {
  std::filesystem::create_directories(folder);
  spill(folder / "config.json", tiny_config(torch_name(type)));
  const std::vector<NamedShape> tensors = tiny_tensors();
  if (!sharded) {
    write_hf_shard(folder / "model.safetensors", tensors, 0, tensors.size(), type);
    return;
  }
  const std::size_t half = tensors.size() / 2;
  const std::string names[] = {"model-00001-of-00002.safetensors",
                               "model-00002-of-00002.safetensors"};
  write_hf_shard(folder / names[0], tensors, 0, half, type);
  write_hf_shard(folder / names[1], tensors, half, tensors.size() - half, type);
  Json index;
  uint64_t total = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    index["weight_map"][tensors[i].hf] = names[i < half ? 0 : 1];
    uint64_t bytes = static_cast<uint64_t>(dtype_size(type));
    for (const int64_t dim : tensors[i].shape) bytes *= static_cast<uint64_t>(dim);
    total += bytes;
  }
  index["metadata"]["total_size"] = total;
  spill(folder / "model.safetensors.index.json", index.dump(4));
}

inline std::vector<std::pair<std::string, GgufValue>> tiny_gguf_metadata() {
  return {{"general.architecture", GgufValue::string("llama")},
          {"general.name", GgufValue::string("tiny")},
          {"general.file_type", GgufValue::u32(3)},
          {"llama.block_count", GgufValue::u32(kBlocks)},
          {"llama.context_length", GgufValue::u32(512)},
          {"llama.embedding_length", GgufValue::u32(kHidden)},
          {"llama.feed_forward_length", GgufValue::u32(kFfn)},
          {"llama.attention.head_count", GgufValue::u32(kHeads)},
          {"llama.attention.head_count_kv", GgufValue::u32(kKvHeads)},
          {"llama.attention.layer_norm_rms_epsilon", GgufValue::f32(1e-6F)},
          {"llama.rope.freq_base", GgufValue::f32(10000)},
          {"llama.rope.dimension_count", GgufValue::u32(kHeadDim)}};
}

// q4_0 (18 bytes per 32 values) with a scale of 1/64 and seeded codes.
inline std::vector<std::byte> tiny_q4_0(const std::vector<int64_t>& shape, uint64_t seed) {
  constexpr std::size_t kBlockBytes = 18;
  std::vector<std::byte> bytes(static_cast<std::size_t>(shape[0] * shape[1] / 32) * kBlockBytes);
  Rng rng(seed);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next_u64());
  const uint16_t scale = f32_to_f16(1.0F / 64);
  for (std::size_t i = 0; i < bytes.size(); i += kBlockBytes) std::memcpy(&bytes[i], &scale, 2);
  return bytes;
}

// Gains in F32, the head's matrices and block 0's ffn_up in F16, the rest in q4_0.
inline void write_tiny_gguf(const std::filesystem::path& path,
                            std::vector<std::pair<std::string, GgufValue>> metadata) {
  constexpr int32_t kQ4 = 2;
  std::vector<GgufWriter::Declaration> declared;
  for (const NamedShape& t : tiny_tensors()) {
    int32_t type = kQ4;
    if (t.shape.size() == 1) type = kGgmlF32;
    if (t.gguf == "output.weight" || t.gguf == "blk.0.ffn_up.weight") type = kGgmlF16;
    declared.push_back({t.gguf, t.shape, type});
  }
  auto writer = GgufWriter::create(path, metadata, declared, 64);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const auto& t = declared[i];
    const DType dense = t.ggml_type == kGgmlF32 ? DType::kF32 : DType::kF16;
    const auto bytes =
        t.ggml_type == kQ4 ? tiny_q4_0(t.shape, i) : encoded(tiny_values(t.shape, dense, i), dense);
    ASSERT_TRUE(writer->write(t.name, bytes).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

inline std::unique_ptr<Model> open_model(const std::filesystem::path& path) {
  auto model = Model::open(path);
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.ok() ? std::move(model).value() : nullptr;
}

// The tensors that a run would quantise, with made-up values that `type` holds exactly.
inline std::map<std::string, MatrixF> made_up_solutions(const Model& model, DType type) {
  std::map<std::string, MatrixF> out;
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) {
      for (const LinearRef& linear : tap.linears) {
        MatrixF values(linear.out, linear.in);
        Rng rng(99, out.size());
        for (int64_t i = 0; i < values.size(); ++i) {
          values.data()[i] = static_cast<float>(0.1 * rng.normal());
        }
        values(0, 0) = -0.0F;
        round_to_dtype(type, {values.data(), static_cast<std::size_t>(values.size())});
        out.emplace(linear.tensor_name, std::move(values));
      }
    }
  }
  return out;
}

inline std::vector<std::string> names_of(const std::map<std::string, MatrixF>& solutions) {
  std::vector<std::string> names;
  for (const auto& [name, values] : solutions) names.push_back(name);
  return names;
}

inline bool same_bits(const MatrixF& a, const MatrixF& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

}  // namespace coldpress::test
