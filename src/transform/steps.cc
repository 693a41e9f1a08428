#include "transform/steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "io/json.h"
#include "transform/table.h"

namespace coldpress {

Result<const TransformKind*> find_transform(std::string_view name) {
  std::string known;
  for (const TransformKind* kind : transform_table()) {
    if (kind->name == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind->name);
  }
  return invalid_argument(fmt::format("no transform \"{}\"; there are {}", name, known));
}

Result<std::vector<TransformStep>> parse_transform_steps(std::string_view text) {
  std::vector<TransformStep> steps;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t colon = std::min(one.find(':'), one.size());
    TransformStep step{std::string(one.substr(0, colon)),
                       std::string(one.substr(std::min(colon + 1, one.size())))};
    COLDPRESS_RETURN_IF_ERROR(find_transform(step.name).status());
    for (const TransformStep& other : steps) {
      if (other.name == step.name) {
        return invalid_argument(fmt::format("transform \"{}\" is asked for twice", step.name));
      }
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

Json transforms_to_json(const TransformOptions& options) {
  Json steps = Json::array();
  for (const TransformStep& step : options.steps) steps.push_back(step.text());
  OnlineParts low_bits;
  low_bits.activations = options.activations;
  low_bits.kv = options.kv;
  Json json = {{"steps", std::move(steps)}, {"rotation_seed", options.seed}};
  json.update(online_to_json(low_bits));
  return json;
}

Result<double> number_setting(const TransformStep& step, double low, double high) {
  double value = 0;
  const char* end = step.setting.data() + step.setting.size();
  const auto [at, error] = std::from_chars(step.setting.data(), end, value);
  if (error == std::errc() && at == end && value >= low && value <= high) return value;
  return invalid_argument(fmt::format(
      "transform {}: the setting must be a number from {:g} to {:g}", step.text(), low, high));
}

Result<bool> learned_setting(const TransformStep& step) {
  if (step.setting.empty()) return false;
  if (step.setting == "learned") return true;
  return invalid_argument("the setting is learned, or none for a random rotation");
}

bool any_is_learned(const TransformOptions& options) {
  return std::ranges::any_of(options.steps, [](const TransformStep& step) {
    const Result<bool> learned = learned_setting(step);
    return learned.ok() && *learned;
  });
}

}  // namespace coldpress
