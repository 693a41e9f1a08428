// A GGUF twin of a small Hugging Face model, in fp32, with just the metadata that forward passes
// need; written from the format's rules, as a converter would.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "model/convention.h"
#include "model/model.h"

namespace coldpress {

inline std::vector<std::pair<std::string, GgufValue>> tiny_metadata(const Model& model) {
  const ModelConfig& c = model.config();
  const std::string arch(model.architecture().gguf_name);
  const auto u32 = [](int64_t v) { return GgufValue::u32(static_cast<uint32_t>(v)); };
  const auto f32 = [](double v) { return GgufValue::f32(static_cast<float>(v)); };
  std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.architecture", GgufValue::string(arch)},
      {arch + ".block_count", u32(c.blocks)},
      {arch + ".context_length", u32(c.context)},
      {arch + ".embedding_length", u32(c.hidden)},
      {arch + ".feed_forward_length", u32(c.ffn)},
      {arch + ".attention.head_count", u32(c.heads)},
      {arch + ".attention.head_count_kv", u32(c.kv_heads)},
      {arch + ".attention.key_length", u32(c.head_dim)},
      {arch + ".attention.value_length", u32(c.head_dim)},
      {arch + ".attention.layer_norm_rms_epsilon", f32(c.norm_eps)},
  };
  double local_theta = 0;
  double global_theta = c.rope.front().theta;
  std::vector<bool> local;
  for (std::size_t i = 0; i < c.sliding_window.size() && c.rope.size() > 1; ++i) {
    local.push_back(c.sliding_window[i] > 0);
    (local.back() ? local_theta : global_theta) = c.rope[i].theta;
  }
  metadata.emplace_back(arch + ".rope.freq_base", f32(global_theta));
  if (!local.empty()) {
    metadata.emplace_back(arch + ".rope.freq_base_swa", f32(local_theta));
    metadata.emplace_back(arch + ".attention.sliding_window", u32(c.sliding_window.front()));
    metadata.emplace_back(arch + ".attention.sliding_window_pattern", GgufValue::bools(local));
  }
  return metadata;
}

inline Status write_tiny_gguf(const Model& model, const std::filesystem::path& path) {
  const Architecture& arch = model.architecture();
  std::vector<GgufWriter::Declaration> declared;
  for (const SourceTensor& tensor : model.tensors()) {
    const auto name = rename_tensor(arch, Naming::kHf, Naming::kGguf, tensor.name);
    if (!name) return corrupt(tensor.name + " has no GGUF name");
    declared.push_back({*name, tensor.shape, kGgmlF32});
  }
  const std::vector<float>& factors = model.config().rope.front().factors;
  const bool has_factors = model.config().rope.size() == 1 && !factors.empty();
  if (has_factors) {
    declared.push_back({"rope_freqs.weight", {static_cast<int64_t>(factors.size())}, kGgmlF32});
  }
  COLDPRESS_ASSIGN_OR_RETURN(auto writer, GgufWriter::create(path, tiny_metadata(model), declared));
  for (const SourceTensor& tensor : model.tensors()) {
    const auto match = match_tensor(arch, Naming::kHf, tensor.name);
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF values, model.load(tensor.name));
    convert_layout(arch, *match->role, model.config(), Naming::kHf, Naming::kGguf, values.view());
    COLDPRESS_RETURN_IF_ERROR(writer.write(
        tensor_name(*match->role, Naming::kGguf, match->block),
        std::as_bytes(std::span(values.data(), static_cast<std::size_t>(values.size())))));
  }
  if (has_factors) {
    COLDPRESS_RETURN_IF_ERROR(writer.write("rope_freqs.weight", std::as_bytes(std::span(factors))));
  }
  return writer.finish();
}

}  // namespace coldpress
