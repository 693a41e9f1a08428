#include "model/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "io/json.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

// A value as it may be shown in an error: short, and printable whatever the file holds.
std::string shown(const Json& value) {
  constexpr std::size_t kLongest = 40;
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

std::optional<int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t u = value.get<uint64_t>();
    if (u > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(u);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

// Llama-3 scaling as divisors of the frequencies: long waves are slowed by `factor`, short ones
// stay, those between are blended.
std::vector<float> llama3_factors(double theta, int64_t dims, double factor, double low,
                                  double high, double original_context) {
  std::vector<float> factors;
  for (int64_t i = 0; i < dims / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(dims);
    const double wavelength = 2.0 * std::numbers::pi * std::pow(theta, exponent);
    double divisor = 1.0;
    if (wavelength > original_context / low) {
      divisor = factor;
    } else if (wavelength > original_context / high) {
      const double smooth = (original_context / wavelength - low) / (high - low);
      divisor = 1.0 / ((1.0 - smooth) / factor + smooth);
    }
    factors.push_back(static_cast<float>(divisor));
  }
  return factors;
}

}  // namespace

std::string ConfigKeys::where(std::string_view key) const {
  return fmt::format("{}: key \"{}{}\"", file_, prefix_, key);
}

const Json* ConfigKeys::find(std::string_view key) const {
  const auto it = object_->find(prefix_ + std::string(key));
  if (it == object_->end() || it->is_null()) return nullptr;
  return &*it;
}

bool ConfigKeys::has(std::string_view key) const { return find(key) != nullptr; }

bool ConfigKeys::is_array(std::string_view key) const {
  const Json* value = find(key);
  return value != nullptr && value->is_array();
}

Status ConfigKeys::wrong(std::string_view key, const std::string& expected) const {
  const Json* value = find(key);
  if (value == nullptr) return corrupt(fmt::format("{} is missing", where(key)));
  return corrupt(fmt::format("{} must be {}, but is {}", where(key), expected, shown(*value)));
}

Result<int64_t> ConfigKeys::integer(std::string_view key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (value != nullptr && value->is_array() && !value->empty()) {
    const Json& first = value->front();
    for (const Json& other : *value) {
      if (other != first) {
        return unsupported(where(key) + " differs from block to block, which is not supported");
      }
    }
    value = &first;
  }
  const std::optional<int64_t> n = value == nullptr ? std::nullopt : as_integer(*value);
  if (!n || *n < min || *n > max) {
    return wrong(key, fmt::format("an integer from {} to {}", min, max));
  }
  return *n;
}

Result<int64_t> ConfigKeys::integer_or(std::string_view key, int64_t fallback, int64_t min,
                                       int64_t max) const {
  if (!has(key)) return fallback;
  return integer(key, min, max);
}

Result<double> ConfigKeys::number(std::string_view key, double min, double max) const {
  const Json* value = find(key);
  if (value != nullptr && value->is_number()) {
    const double n = value->get<double>();
    if (n >= min && n <= max) return n;
  }
  return wrong(key, fmt::format("a number from {} to {}", min, max));
}

Result<double> ConfigKeys::number_or(std::string_view key, double fallback, double min,
                                     double max) const {
  if (!has(key)) return fallback;
  return number(key, min, max);
}

Result<bool> ConfigKeys::flag_or(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong(key, "true or false");
  return value->get<bool>();
}

Result<std::string> ConfigKeys::text_or(std::string_view key, std::string fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return wrong(key, "a string");
  return value->get<std::string>();
}

Result<std::vector<bool>> ConfigKeys::flags(std::string_view key, int64_t count) const {
  const Json* value = find(key);
  const std::string expected = fmt::format("an array of {} booleans", count);
  if (value == nullptr || !value->is_array() || value->size() != static_cast<std::size_t>(count)) {
    return wrong(key, expected);
  }
  std::vector<bool> result;
  for (const Json& entry : *value) {
    const std::optional<int64_t> n = as_integer(entry);
    if (!entry.is_boolean() && !n) return wrong(key, expected);
    result.push_back(entry.is_boolean() ? entry.get<bool>() : *n != 0);
  }
  return result;
}

Result<std::vector<int64_t>> ConfigKeys::integers(std::string_view key,
                                                  std::optional<std::size_t> count, int64_t min,
                                                  int64_t max) const {
  const Json* value = find(key);
  const std::string many = count ? fmt::format("{} ", *count) : "";
  const std::string expected = fmt::format("an array of {}integers from {} to {}", many, min, max);
  if (value == nullptr || !value->is_array() || value->size() != count.value_or(value->size())) {
    return wrong(key, expected);
  }
  std::vector<int64_t> result;
  for (const Json& entry : *value) {
    const std::optional<int64_t> n = as_integer(entry);
    if (!n || *n < min || *n > max) return wrong(key, expected);
    result.push_back(*n);
  }
  return result;
}

Result<std::vector<bool>> ConfigKeys::layer_types(int64_t blocks) const {
  const Json* value = find("layer_types");
  const std::string expected = fmt::format("an array of {} strings", blocks);
  if (value == nullptr || !value->is_array() || value->size() != static_cast<std::size_t>(blocks)) {
    return wrong("layer_types", expected);
  }
  std::vector<bool> sliding;
  for (const Json& entry : *value) {
    if (entry != "sliding_attention" && entry != "full_attention") {
      return unsupported(fmt::format("{} lists {}; known are full_attention and sliding_attention",
                                     where("layer_types"), shown(entry)));
    }
    sliding.push_back(entry == "sliding_attention");
  }
  return sliding;
}

Result<std::optional<ConfigKeys>> ConfigKeys::child(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<ConfigKeys>();
  if (!value->is_object()) return wrong(key, "an object");
  return std::optional<ConfigKeys>(
      ConfigKeys(*value, fmt::format("{}: in \"{}{}\"", file_, prefix_, key)));
}

Status refuse_flag(const ConfigKeys& keys, std::string_view key, const std::string& why) {
  COLDPRESS_ASSIGN_OR_RETURN(const bool set, keys.flag_or(key, false));
  if (set) return unsupported(fmt::format("{} is true, but {}", keys.where(key), why));
  return {};
}

std::string_view spelled(const ConfigKeys& keys, std::string_view names) {
  const std::string_view first = names.substr(0, names.find('|'));
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find('|'));
    if (keys.has(name)) return name;
    names.remove_prefix(std::min(names.size(), name.size() + 1));
  }
  return first;
}

double shortest_number(double value) {
  return std::stod(fmt::format("{}", static_cast<float>(value)));
}

Result<RopeConfig> read_rope(const ConfigKeys& keys, int64_t dims, double theta) {
  RopeConfig rope{.dims = dims};
  COLDPRESS_ASSIGN_OR_RETURN(rope.theta, keys.number_or("rope_theta", theta, 1.0, kMaxTheta));
  // transformers before 4.43 wrote "type".
  const std::string type_key = keys.has("rope_type") ? "rope_type" : "type";
  COLDPRESS_ASSIGN_OR_RETURN(const std::string type, keys.text_or(type_key, "default"));
  if (keys.has("mrope_section")) {
    COLDPRESS_ASSIGN_OR_RETURN(rope.sections, keys.integers("mrope_section", 3, 0, dims / 2));
  }
  if (type == "default" || type == "mrope") return rope;
  if (type == "linear") {
    COLDPRESS_ASSIGN_OR_RETURN(const double factor, keys.number("factor", 1e-3, 1e6));
    rope.factors.assign(static_cast<std::size_t>(dims / 2), static_cast<float>(factor));
    return rope;
  }
  if (type == "llama3") {
    COLDPRESS_ASSIGN_OR_RETURN(const double factor, keys.number("factor", 1e-3, 1e6));
    COLDPRESS_ASSIGN_OR_RETURN(const double low, keys.number("low_freq_factor", 1e-3, 1e6));
    COLDPRESS_ASSIGN_OR_RETURN(const double high, keys.number("high_freq_factor", 1e-3, 1e6));
    COLDPRESS_ASSIGN_OR_RETURN(const int64_t original,
                               keys.integer("original_max_position_embeddings", 1, kMaxContext));
    if (low >= high) {
      return corrupt(keys.where("low_freq_factor") + " must be less than high_freq_factor");
    }
    rope.factors =
        llama3_factors(rope.theta, dims, factor, low, high, static_cast<double>(original));
    return rope;
  }
  return unsupported(fmt::format("{} is {}; known are default, linear, llama3 and mrope",
                                 keys.where(type_key), show_name(type)));
}

Status read_optional_sliding_window(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const bool used, keys.flag_or("use_sliding_window", false));
  if (!used) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 4096, 1, kMaxContext));
  std::vector<bool> local;
  if (keys.has("layer_types")) {
    COLDPRESS_ASSIGN_OR_RETURN(local, keys.layer_types(config.blocks));
  } else {
    COLDPRESS_ASSIGN_OR_RETURN(const int64_t first,
                               keys.integer_or("max_window_layers", 28, 0, kMaxContext));
    for (int64_t i = 0; i < config.blocks; ++i) local.push_back(i >= first);
  }
  for (const bool is_local : local) config.sliding_window.push_back(is_local ? window : 0);
  return {};
}

}  // namespace coldpress
