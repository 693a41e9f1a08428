// Typed, range-checked access to a configuration: config.json or GGUF metadata (as JSON). Every
// error names the file and the key, and says what was expected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"
#include "model/config.h"

namespace coldpress {

// No real model comes near these; beyond them products of sizes could overflow.
inline constexpr int64_t kMaxBlocks = 4096;
inline constexpr int64_t kMaxHeadDim = 4096;
inline constexpr int64_t kMaxWidth = int64_t{1} << 24;  // hidden, ffn, heads * head_dim, vocabulary
inline constexpr int64_t kMaxContext = int64_t{1} << 31;
inline constexpr int64_t kMaxExperts = 4096;
inline constexpr double kMaxTheta = 1e12;

class ConfigKeys {
 public:
  // `object` is borrowed. `prefix` goes before every key of the file ("llama." in GGUF).
  ConfigKeys(const Json& object, std::string file, std::string prefix = {})
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  // "FILE: key "KEY"", the start of every error.
  std::string where(std::string_view key) const;
  bool has(std::string_view key) const;  // present and not null
  bool is_array(std::string_view key) const;

  // Without _or: a missing key is an error. A GGUF array of equal numbers counts as one number.
  Result<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> integer_or(std::string_view key, int64_t fallback, int64_t min,
                             int64_t max) const;
  Result<double> number(std::string_view key, double min, double max) const;
  Result<double> number_or(std::string_view key, double fallback, double min, double max) const;
  Result<bool> flag_or(std::string_view key, bool fallback) const;
  Result<std::string> text_or(std::string_view key, std::string fallback) const;
  // `count` booleans (or 0/1).
  Result<std::vector<bool>> flags(std::string_view key, int64_t count) const;
  // `count` integers, or as many as there are.
  Result<std::vector<int64_t>> integers(std::string_view key, std::optional<std::size_t> count,
                                        int64_t min, int64_t max) const;
  // HF "layer_types": true for "sliding_attention", false for "full_attention".
  Result<std::vector<bool>> layer_types(int64_t blocks) const;
  // The object under `key`; nullopt if absent or null, an error if it is no object.
  Result<std::optional<ConfigKeys>> child(std::string_view key) const;

 private:
  const Json* find(std::string_view key) const;
  Status wrong(std::string_view key, const std::string& expected) const;

  const Json* object_;
  std::string file_;
  std::string prefix_;
};

// An error if the flag is set; `why` ends the sentence.
Status refuse_flag(const ConfigKeys& keys, std::string_view key, const std::string& why);

// Of "a|b", the first name that is present; `a` if none is.
std::string_view spelled(const ConfigKeys& keys, std::string_view names);

// The shortest decimal that is the same fp32: GGUF's 1e-6F is 1e-06 again, not 9.99999997e-07.
double shortest_number(double value);

// RoPE from an HF object ("rope_parameters" or "rope_scaling"): rope_theta (default `theta`) and
// the types default, linear, llama3 and mrope (sections for images); others are unsupported.
// `dims`: of a head, that rotate.
Result<RopeConfig> read_rope(const ConfigKeys& keys, int64_t dims, double theta);

// Qwen's optional windows: use_sliding_window, sliding_window, and layer_types or
// max_window_layers.
Status read_optional_sliding_window(const ConfigKeys& keys, ModelConfig& config);

}  // namespace coldpress
