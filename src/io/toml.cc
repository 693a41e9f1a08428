#include "io/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace coldpress {
namespace {

Result<Json> to_json(const toml::node& node, const std::string& where) {
  const auto at = [&] { return fmt::format("{}, line {}", where, node.source().begin.line); };
  if (const auto* table = node.as_table()) {
    Json json = Json::object();
    for (const auto& [key, value] : *table) {
      COLDPRESS_ASSIGN_OR_RETURN(json[std::string(key.str())], to_json(value, where));
    }
    return json;
  }
  if (const auto* array = node.as_array()) {
    Json json = Json::array();
    for (const auto& value : *array) {
      COLDPRESS_ASSIGN_OR_RETURN(Json element, to_json(value, where));
      json.push_back(std::move(element));
    }
    return json;
  }
  if (const auto* text = node.as_string()) return Json(text->get());
  if (const auto* flag = node.as_boolean()) return Json(flag->get());
  if (const auto* integer = node.as_integer()) return Json(integer->get());
  if (const auto* number = node.as_floating_point()) {
    if (std::isfinite(number->get())) return Json(number->get());
    return corrupt(at() + ": numbers must be finite");
  }
  return corrupt(at() + ": dates and times mean nothing here");
}

// Plain keys stand as they are, others in quotes; so do strings. JSON's escapes are TOML's.
std::string key_text(const std::string& key) {
  const bool plain = !key.empty() && key.find_first_not_of(
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_-") == std::string::npos;
  return plain ? key : Json(key).dump();
}

std::string value_text(const Json& value) {
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& element : value) text += (text.empty() ? "" : ", ") + element.dump();
  return "[" + text + "]";
}

void write_table(const std::string& name, const Json& object, std::string& out) {
  std::string scalars;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null() || value.is_object()) continue;
    scalars += key_text(key) + " = " + value_text(value) + "\n";
  }
  if (!scalars.empty()) {
    if (!name.empty()) out += (out.empty() ? "[" : "\n[") + name + "]\n";
    out += scalars;
  }
  for (const auto& [key, value] : object.items()) {
    if (!value.is_object()) continue;
    write_table(name.empty() ? key_text(key) : name + "." + key_text(key), value, out);
  }
}

}  // namespace

Result<Json> parse_toml(std::string_view text, const std::string& where) {
  const toml::parse_result parsed = toml::parse(text, where);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return corrupt(fmt::format("{}, line {}: {}", where, error.source().begin.line,
                               std::string(error.description())));
  }
  return to_json(parsed.table(), where);
}

std::string to_toml(const Json& object) {
  std::string out;
  write_table("", object, out);
  return out;
}

}  // namespace coldpress
