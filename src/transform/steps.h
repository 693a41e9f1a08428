// What the user asks of transforms: an ordered list of steps, NAME or NAME:SETTING.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/online.h"

namespace coldpress {

struct TransformStep {
  std::string name;     // of the table of transforms (transform/table.h)
  std::string setting;  // the kind's own; empty: its default

  std::string text() const { return setting.empty() ? name : name + ":" + setting; }
  bool operator==(const TransformStep&) const = default;
};

struct TransformOptions {
  std::vector<TransformStep> steps;
  uint64_t seed = 0;                         // of random rotations
  LowBits activations = {0, true, 1.0F, 0};  // what the model then rounds as it runs
  LowBits kv;

  bool empty() const { return steps.empty() && activations.bits == 0 && kv.bits == 0; }
};

// "r1,smooth:0.5": names must be in the table, once each.
Result<std::vector<TransformStep>> parse_transform_steps(std::string_view text);

// As recipes and manifests record them.
Json transforms_to_json(const TransformOptions& options);

// A setting that is a number within [low, high].
Result<double> number_setting(const TransformStep& step, double low, double high);
// Whether a rotation is to be learned: the setting is "learned", or none for a random one.
Result<bool> learned_setting(const TransformStep& step);
bool any_is_learned(const TransformOptions& options);

}  // namespace coldpress
