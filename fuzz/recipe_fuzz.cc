// Any text as a recipe, in TOML or JSON: an error or a recipe that survives its own text.
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "io/json.h"
#include "io/toml.h"
#include "pipeline/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  coldpress::Recipe recipe;
  const coldpress::Status read = coldpress::apply_recipe_text(text, "recipe", recipe);
  if (!read.ok()) {
    COLDPRESS_CHECK(!read.message().empty());
    return 0;
  }
  const coldpress::Json json = coldpress::recipe_to_json(recipe);
  coldpress::Recipe again;
  COLDPRESS_CHECK(coldpress::apply_recipe(json, "recipe", again).ok());
  COLDPRESS_CHECK(coldpress::recipe_to_json(again) == json);
  return 0;
}
