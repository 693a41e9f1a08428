#include "pipeline/presets.h"

#include <fmt/format.h>

namespace coldpress {
namespace {

constexpr Preset kPresets[] = {
    {"w3a16", "3-bit weights, one scale per channel", R"(
[grid]
bits = 3
)"},
    {"w8a8", "8-bit weights and activations", R"(
[grid]
bits = 8
symmetric = true
[transform]
activations = { bits = 8, symmetric = true }
)"},
    {"w4a8-smoothquant", "4-bit weights and 8-bit activations, balanced by SmoothQuant", R"(
[grid]
bits = 4
[transform]
steps = ["smooth:search"]
activations = { bits = 8, symmetric = true }
)"},
    {"w4a4kv4-rotated", "4-bit weights, activations, keys and values, rotated", R"(
[grid]
bits = 4
[transform]
steps = ["r1:learned", "r2:learned", "r3", "r4"]
activations = { bits = 4, symmetric = true, clip = "search" }
kv = { bits = 4, clip = "search" }
)"},
    {"w2a4kv4-rotated", "2-bit weights in groups of 64, the rest as w4a4kv4-rotated", R"(
[grid]
bits = 2
group = 64
[transform]
steps = ["r1:learned", "r2:learned", "r3", "r4"]
activations = { bits = 4, symmetric = true, clip = "search" }
kv = { bits = 4, clip = "search" }
)"},
    {"w4a16-awq", "4-bit weights in groups of 64, scaled by AWQ", R"(
[grid]
bits = 4
group = 64
[transform]
steps = ["awq"]
)"},
};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

Result<Preset> find_preset(std::string_view name) {
  std::string known;
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset;
    known += (known.empty() ? "" : ", ") + std::string(preset.name);
  }
  return invalid_argument(fmt::format("no preset \"{}\"; there are {}", name, known));
}

}  // namespace coldpress
