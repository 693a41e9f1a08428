#include "io/toml.h"

// toml++ asserts what hostile text can break, and assumes it where NDEBUG is defined. Here it
// throws.
#undef NDEBUG
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wterminate"  // of its accessors, which are not called out of place
#endif
namespace {
struct BrokenText {};
}  // namespace
#define TOML_ASSERT(expr)            \
  do {                               \
    if (!(expr)) throw BrokenText{}; \
  } while (false)

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "io/json.h"

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

// toml++ is undefined on some letters beyond ASCII, wherever they stand. 0: there are none; else
// the first line that has one.
int64_t odd_letter_line(std::string_view text) {
  const auto is_odd = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x7F || (byte < 0x20 && c != '\n' && c != '\r' && c != '\t');
  };
  const auto* const at = std::find_if(text.begin(), text.end(), is_odd);
  return at == text.end() ? 0 : 1 + std::count(text.begin(), at, '\n');
}

// Nothing where an assertion of toml++ fails.
std::optional<toml::parse_result> try_parse(std::string_view text, const std::string& where) {
  try {
    return toml::parse(text, where);
  } catch (const BrokenText&) {
    return std::nullopt;
  }
}

// The line at which an assertion fails: that with which the lines up to it fail first.
int64_t broken_line(std::string_view text, const std::string& where) {
  std::vector<std::size_t> ends;
  for (std::size_t at = text.find('\n'); at < text.size(); at = text.find('\n', at + 1)) {
    ends.push_back(at);
  }
  const auto reads = [&](std::size_t end) {
    return try_parse(text.substr(0, end), where).has_value();
  };
  return 1 + (std::partition_point(ends.begin(), ends.end(), reads) - ends.begin());
}

std::string ascii(const Json& value) { return value.dump(-1, ' ', true); }

// Plain keys stand as they are, others in quotes; so do strings. JSON's escapes are TOML's.
std::string key_text(const std::string& key) {
  const bool plain = !key.empty() && key.find_first_not_of(
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_-") == std::string::npos;
  return plain ? key : ascii(key);
}

std::string value_text(const Json& value) {
  if (!value.is_array()) return ascii(value);
  std::string text;
  for (const Json& element : value) text += (text.empty() ? "" : ", ") + ascii(element);
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
  if (const int64_t line = odd_letter_line(text); line > 0) {
    return corrupt(
        fmt::format("{}, line {}: a recipe is ASCII; write other letters as \\uXXXX in "
                    "quotes",
                    where, line));
  }
  const std::optional<toml::parse_result> read = try_parse(text, where);
  if (!read) {
    return corrupt(fmt::format("{}, line {}: brackets, braces or keys are out of place", where,
                               broken_line(text, where)));
  }
  const toml::parse_result& parsed = *read;
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
