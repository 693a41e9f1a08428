// Hugging Face folders of a tiny Llama whose linears are stored packed, and their plain twins. The
// packing here is written from the formats' definitions, value by value.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "tests/io/test_files.h"

namespace coldpress::test {

struct RawTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

template <typename T>
RawTensor raw(DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  RawTensor out{dtype, std::move(shape), {}};
  out.bytes.resize(values.size() * sizeof(T));
  std::memcpy(out.bytes.data(), values.data(), out.bytes.size());
  return out;
}

inline RawTensor raw_floats(DType dtype, std::vector<int64_t> shape,
                            const std::vector<float>& values) {
  RawTensor out{dtype, std::move(shape), {}};
  out.bytes.resize(values.size() * static_cast<std::size_t>(dtype_size(dtype)));
  EXPECT_TRUE(encode_from_f32(dtype, values, out.bytes));
  return out;
}

inline void write_raw(const std::filesystem::path& path, const RawTensors& tensors) {
  std::vector<SafetensorsWriter::Declaration> declared;
  for (const auto& [name, t] : tensors) declared.push_back({name, t.dtype, t.shape});
  auto writer = SafetensorsWriter::create(path, declared, {{"format", "pt"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (const auto& [name, t] : tensors) ASSERT_TRUE(writer->write(name, t.bytes).ok()) << name;
  ASSERT_TRUE(writer->finish().ok());
}

inline constexpr int64_t kPackedHidden = 64;
inline constexpr int64_t kPackedFfn = 96;

inline Json packed_config(const Json& settings) {
  Json json = Json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 264, "rms_norm_eps": 1e-6, "torch_dtype": "bfloat16",
    "max_position_embeddings": 512, "tie_word_embeddings": false})");
  if (!settings.is_null()) json["quantization_config"] = settings;
  return json;
}

// (out, in) of every linear, by its name without ".weight".
inline std::map<std::string, std::pair<int64_t, int64_t>> packed_linears(int64_t block = 0) {
  const std::string p = "model.layers." + std::to_string(block) + ".";
  return {{p + "self_attn.q_proj", {64, 64}}, {p + "self_attn.k_proj", {32, 64}},
          {p + "self_attn.v_proj", {32, 64}}, {p + "self_attn.o_proj", {64, 64}},
          {p + "mlp.gate_proj", {96, 64}},    {p + "mlp.up_proj", {96, 64}},
          {p + "mlp.down_proj", {64, 96}}};
}

// Everything but the linears, in BF16.
inline RawTensors packed_rest() {
  RawTensors out;
  const auto add = [&out](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    Rng rng(5, out.size());
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = static_cast<float>(0.5 + 0.2 * rng.normal());
    out[name] = raw_floats(DType::kBF16, std::move(shape), values);
  };
  add("model.embed_tokens.weight", {264, 64});
  add("lm_head.weight", {264, 64});
  add("model.norm.weight", {64});
  add("model.layers.0.input_layernorm.weight", {64});
  add("model.layers.0.post_attention_layernorm.weight", {64});
  return out;
}

// A scale that BF16 holds, so that the product with a small integer or an FP8 code is exact too.
inline float power_of_two(Rng& rng) {
  return std::ldexp(1.0F, -4 - static_cast<int>(rng.below(4)));
}

// One logical weight: the tensors that store it, and its values.
struct Packed {
  RawTensors parts;
  std::vector<float> values;  // (out, in)
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// FP8 with one scale per block of (block_rows, block_cols).
inline Packed pack_fp8(const std::string& name, int64_t out, int64_t in, int64_t block_rows,
                       int64_t block_cols, const std::string& scale_suffix, uint64_t seed) {
  Rng rng(seed);
  Packed p;
  const int64_t across = ceil_div(in, block_cols);
  std::vector<float> scales(static_cast<std::size_t>(ceil_div(out, block_rows) * across));
  for (float& s : scales) s = power_of_two(rng);
  std::vector<uint8_t> codes;
  for (int64_t r = 0; r < out; ++r) {
    for (int64_t c = 0; c < in; ++c) {
      const auto exponent = static_cast<int>(rng.below(14));  // small enough, and never NaN
      const auto mantissa = static_cast<int>(rng.below(8));
      const bool negative = rng.below(2) == 1;
      codes.push_back(static_cast<uint8_t>(negative << 7 | exponent << 3 | mantissa));
      const double magnitude = exponent == 0 ? mantissa / 8.0 * std::pow(2.0, -6)
                                             : (1 + mantissa / 8.0) * std::pow(2.0, exponent - 7);
      const float scale =
          scales[static_cast<std::size_t>(r / block_rows * across + c / block_cols)];
      p.values.push_back(static_cast<float>(negative ? -magnitude : magnitude) * scale);
    }
  }
  p.parts[name + ".weight"] = raw(DType::kF8E4M3, {out, in}, codes);
  p.parts[name + ".weight" + scale_suffix] =
      raw_floats(DType::kF32, {ceil_div(out, block_rows), across}, scales);
  return p;
}

// Codes and zero points in [0, 2^bits) with scales, by group of inputs.
struct IntWeight {
  int64_t out, in, groups;
  int bits;
  std::vector<uint32_t> codes;    // (out, in)
  std::vector<uint32_t> zeros;    // (out, groups)
  std::vector<float> scales;      // (out, groups)
  std::vector<int32_t> group_of;  // in
  std::vector<float> values() const {
    std::vector<float> v;
    for (int64_t r = 0; r < out; ++r) {
      for (int64_t c = 0; c < in; ++c) {
        const auto at =
            static_cast<std::size_t>(r * groups + group_of[static_cast<std::size_t>(c)]);
        const auto code = static_cast<double>(codes[static_cast<std::size_t>(r * in + c)]);
        v.push_back(static_cast<float>((code - zeros[at]) * scales[at]));
      }
    }
    return v;
  }
};

inline IntWeight int_weight(int64_t out, int64_t in, int64_t group, int bits, bool symmetric,
                            bool shuffled, uint64_t seed) {
  Rng rng(seed);
  IntWeight w{out, in, ceil_div(in, group), bits, {}, {}, {}, {}};
  const uint64_t levels = uint64_t{1} << bits;
  for (int64_t i = 0; i < out * in; ++i)
    w.codes.push_back(static_cast<uint32_t>(rng.below(levels)));
  for (int64_t i = 0; i < out * w.groups; ++i) {
    w.zeros.push_back(symmetric ? 1U << (bits - 1) : static_cast<uint32_t>(rng.below(levels)));
    w.scales.push_back(power_of_two(rng));
  }
  for (int64_t i = 0; i < in; ++i) w.group_of.push_back(static_cast<int32_t>(i / group));
  for (int64_t i = in - 1; shuffled && i > 0; --i) {
    std::swap(w.group_of[static_cast<std::size_t>(i)],
              w.group_of[rng.below(static_cast<uint64_t>(i) + 1)]);
  }
  return w;
}

// compressed-tensors: 32 / bits codes to a word.
inline std::vector<int32_t> words_of(const std::vector<uint32_t>& codes, int bits) {
  const std::size_t per_word = 32 / static_cast<std::size_t>(bits);
  std::vector<int32_t> words((codes.size() + per_word - 1) / per_word);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    auto word = static_cast<uint32_t>(words[i / per_word]);
    word |= codes[i] << (static_cast<std::size_t>(bits) * (i % per_word));
    words[i / per_word] = static_cast<int32_t>(word);
  }
  return words;
}

// GPTQ: bit after bit.
inline std::vector<int32_t> bit_stream(const std::vector<uint32_t>& codes, int bits) {
  std::vector<int32_t> words(codes.size() * static_cast<std::size_t>(bits) / 32);
  for (std::size_t i = 0; i < codes.size() * static_cast<std::size_t>(bits); ++i) {
    const std::size_t code = i / static_cast<std::size_t>(bits);
    const uint32_t bit = codes[code] >> (i % static_cast<std::size_t>(bits)) & 1U;
    words[i / 32] = static_cast<int32_t>(static_cast<uint32_t>(words[i / 32]) | bit << (i % 32));
  }
  return words;
}

template <typename T>
std::vector<T> transposed(const std::vector<T>& m, int64_t rows, int64_t cols) {
  std::vector<T> out;
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) out.push_back(m[static_cast<std::size_t>(r * cols + c)]);
  }
  return out;
}

// Packs each row of a (rows, cols) matrix by itself; the result is (rows, words).
template <typename Pack>
std::vector<int32_t> pack_rows(const std::vector<uint32_t>& m, int64_t rows, int64_t cols, int bits,
                               Pack pack) {
  std::vector<int32_t> out;
  for (int64_t r = 0; r < rows; ++r) {
    const auto words =
        pack(std::vector<uint32_t>(m.begin() + r * cols, m.begin() + (r + 1) * cols), bits);
    out.insert(out.end(), words.begin(), words.end());
  }
  return out;
}

inline Packed pack_compressed(const std::string& name, const IntWeight& w, bool symmetric,
                              bool with_index) {
  Packed p;
  p.values = w.values();
  const int64_t words = ceil_div(w.in, 32 / w.bits);
  p.parts[name + ".weight_packed"] =
      raw(DType::kI32, {w.out, words}, pack_rows(w.codes, w.out, w.in, w.bits, words_of));
  p.parts[name + ".weight_shape"] = raw(DType::kI64, {2}, std::vector<int64_t>{w.out, w.in});
  p.parts[name + ".weight_scale"] = raw_floats(DType::kBF16, {w.out, w.groups}, w.scales);
  if (!symmetric) {
    const auto columns = transposed(w.zeros, w.out, w.groups);
    const int64_t down = ceil_div(w.out, 32 / w.bits);
    const auto packed = pack_rows(columns, w.groups, w.out, w.bits, words_of);
    p.parts[name + ".weight_zero_point"] =
        raw(DType::kI32, {down, w.groups}, transposed(packed, w.groups, down));
  }
  if (with_index) p.parts[name + ".weight_g_idx"] = raw(DType::kI32, {w.in}, w.group_of);
  return p;
}

inline Packed pack_gptq(const std::string& name, const IntWeight& w, bool v2, bool with_index) {
  Packed p;
  p.values = w.values();
  const int64_t words = w.in * w.bits / 32;
  p.parts[name + ".qweight"] =
      raw(DType::kI32, {words, w.out},
          transposed(pack_rows(w.codes, w.out, w.in, w.bits, bit_stream), w.out, words));
  std::vector<uint32_t> zeros = transposed(w.zeros, w.out, w.groups);
  for (uint32_t& z : zeros) z = (v2 ? z : z - 1) & ((1U << w.bits) - 1);
  p.parts[name + ".qzeros"] = raw(DType::kI32, {w.groups, w.out * w.bits / 32},
                                  pack_rows(zeros, w.groups, w.out, w.bits, bit_stream));
  p.parts[name + ".scales"] =
      raw_floats(DType::kF16, {w.groups, w.out}, transposed(w.scales, w.out, w.groups));
  if (with_index) p.parts[name + ".g_idx"] = raw(DType::kI32, {w.in}, w.group_of);
  return p;
}

}  // namespace coldpress::test
