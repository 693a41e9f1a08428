// Appends the metadata of one architecture: the counterpart of ConfigKeys for writing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/gguf.h"

namespace coldpress {

class GgufKeys {
 public:
  // `out` is borrowed. `prefix` goes before every key ("llama.").
  GgufKeys(std::vector<std::pair<std::string, GgufValue>>& out, std::string prefix)
      : out_(&out), prefix_(std::move(prefix)) {}

  void put(const char* key, int64_t value) {
    put(key, GgufValue::u32(static_cast<uint32_t>(value)));
  }
  void put(const char* key, double value) { put(key, GgufValue::f32(static_cast<float>(value))); }
  void put(const char* key, bool value) { put(key, GgufValue::boolean(value)); }
  void put(const char* key, GgufValue value) {
    out_->emplace_back(prefix_ + key, std::move(value));
  }

 private:
  std::vector<std::pair<std::string, GgufValue>>* out_;
  std::string prefix_;
};

}  // namespace coldpress
