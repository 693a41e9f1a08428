// Members of a JSON object that may be absent or of another kind, as tokenizer files have them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace coldpress {

// nullptr if `node` is no object or has no such member, or a null.
inline const Json* member(const Json& node, std::string_view key) {
  if (!node.is_object()) return nullptr;
  const auto it = node.find(key);
  return it == node.end() || it->is_null() ? nullptr : &*it;
}

// Empty if it is no string.
inline std::string text(const Json& node, std::string_view key) {
  const Json* v = member(node, key);
  return v != nullptr && v->is_string() ? v->get<std::string>() : std::string();
}

inline std::optional<bool> flag(const Json& node, std::string_view key) {
  const Json* v = member(node, key);
  if (v == nullptr || !v->is_boolean()) return std::nullopt;
  return v->get<bool>();
}

// As it may be shown in an error.
inline std::string shown(const Json& node) {
  constexpr std::size_t kLongest = 200;
  std::string s = node.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (s.size() > kLongest) s = s.substr(0, kLongest) + "...";
  return s;
}

// The parts of a Sequence (of normalizers or pre-tokenizers), or the node itself; none for null.
inline std::vector<const Json*> parts_of(const Json* node, std::string_view list_key) {
  if (node == nullptr) return {};
  const Json* list = text(*node, "type") == "Sequence" ? member(*node, list_key) : nullptr;
  if (list == nullptr || !list->is_array()) return {node};
  std::vector<const Json*> parts;
  for (const Json& part : *list) parts.push_back(&part);
  return parts;
}

}  // namespace coldpress
