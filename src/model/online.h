// What runs along with a model that was pressed for low-bit activations: rounding of what its
// linears read and of keys and values, and rotations that no weight could absorb. Part of a
// model's configuration, so that calibration and evaluation do the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// Of a range that each row shrinks by itself to what leaves it the least squared error.
inline constexpr float kSearchClip = 0.0F;

// Integers of so many bits, with a scale per row (or per `group` values of it) that follows from
// the row itself.
struct LowBits {
  int bits = 0;            // 2..8; 0: values stay as they are
  bool symmetric = false;  // the range is [-a, a]; else [min, max] with 0 inside
  float clip = 1.0F;       // of the range, in (0, 1]; kSearchClip: each row takes its best of a few
  int64_t group = 0;       // consecutive values that share a scale; 0: all

  bool operator==(const LowBits&) const = default;
};

// x (n) <- the values that x has after rounding. A row with NaN or infinity stays as it is.
void round_to_low_bits(const LowBits& how, float* x, int64_t n);

struct OnlineParts {
  LowBits activations;         // at the input of every linear that is quantised
  LowBits kv;                  // keys (after RoPE and R3) and values, of each head
  std::optional<uint64_t> r3;  // seed of the rotation of q and k after RoPE
  std::optional<uint64_t> r4;  // seed of the rotation before the down projection

  bool empty() const { return *this == OnlineParts(); }
  // Whether a program that leaves the online parts out computes another function.
  bool are_needed() const { return r4.has_value(); }
  bool operator==(const OnlineParts&) const = default;
};

Json online_to_json(const OnlineParts& parts);
// The inverse. Unknown keys are refused, since leaving them out would change the model.
Result<OnlineParts> online_from_json(const Json& json, const std::string& where);

// The key in config.json, and in GGUF metadata, where the JSON is a string.
inline constexpr char kOnlineKey[] = "coldpress_online";
inline constexpr char kGgufOnlineKey[] = "coldpress.online";

// Stands before the family's name (config.json's model_type and architectures, GGUF's
// general.architecture) where OnlineParts::are_needed(): other programs refuse a family that they
// do not know, instead of computing something else.
inline constexpr char kOnlineMark[] = "coldpress_";
std::string without_online_mark(const std::string& family);

}  // namespace coldpress
