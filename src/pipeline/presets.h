// Recipes by name: the settings of the papers that coldpress's methods come from.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace coldpress {

struct Preset {
  std::string_view name;
  std::string_view summary;
  std::string_view toml;  // a recipe (pipeline/recipe.h)
};

std::span<const Preset> presets();
// An unknown name is an error that lists the known ones.
Result<Preset> find_preset(std::string_view name);

}  // namespace coldpress
