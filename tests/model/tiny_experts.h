// The tiny Qwen3-MoE with other routers or another layout of its experts.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "tests/io/test_files.h"
#include "tests/model/packed_files.h"

namespace coldpress::test {

inline RawTensors read_raw(const std::filesystem::path& path) {
  RawTensors out;
  const auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(file.ok());
  for (const SafetensorsInfo& t : file->content().tensors) {
    out[t.name] = {t.dtype, t.shape, {t.data.begin(), t.data.end()}};
  }
  return out;
}

// The routers' rows in BF16: experts 1, 4 and 6 get zeros, 2 the opposite of 0, and 5 of 3. Of any
// token's logits at least two are above zero then, so that with two experts per token 1, 4 and 6
// are never used.
inline const std::set<int> kNeverRouted = {1, 4, 6};
inline void starve_experts(RawTensors& tensors) {
  for (auto& [name, t] : tensors) {
    if (!name.ends_with(".mlp.gate.weight")) continue;
    const std::size_t row = static_cast<std::size_t>(t.shape[1]) * 2;
    for (const int e : kNeverRouted)
      std::memset(&t.bytes[static_cast<std::size_t>(e) * row], 0, row);
    for (const auto& [from, to] : {std::pair<std::size_t, std::size_t>{0, 2}, {3, 5}}) {
      std::memcpy(&t.bytes[to * row], &t.bytes[from * row], row);
      for (std::size_t i = 1; i < row; i += 2) t.bytes[to * row + i] ^= std::byte{0x80};
    }
  }
}

// One tensor per expert becomes one 3-D tensor, gate above up.
inline void stack_experts(RawTensors& tensors, int blocks, int experts) {
  for (int b = 0; b < blocks; ++b) {
    const std::string prefix = "model.layers." + std::to_string(b) + ".mlp.experts.";
    const auto move_to = [&](const std::string& stacked, const std::string& one) {
      const RawTensor& t = tensors.at(one);
      RawTensor& all = tensors[prefix + stacked];
      all.dtype = t.dtype;
      all.bytes.insert(all.bytes.end(), t.bytes.begin(), t.bytes.end());
      all.shape = {experts, t.shape[0] * (stacked == "gate_up_proj" ? 2 : 1), t.shape[1]};
      tensors.erase(one);
    };
    for (int e = 0; e < experts; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      move_to("gate_up_proj", expert + "gate_proj.weight");
      move_to("gate_up_proj", expert + "up_proj.weight");
      move_to("down_proj", expert + "down_proj.weight");
    }
  }
}

}  // namespace coldpress::test
