#include "model/table.h"

#include <fmt/format.h>

#include <charconv>

#include "base/check.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

constexpr std::string_view kHole = "{}";

std::string_view pattern_of(const RoleSpec& role, Naming naming) {
  return naming == Naming::kHf ? role.hf : role.gguf;
}

// The block's index if `name` is `pattern` with a plain decimal number in its hole; -1 if they are
// equal and there is no hole.
std::optional<int64_t> match_pattern(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return std::nullopt;
  const std::size_t hole = pattern.find(kHole);
  if (hole == std::string_view::npos) {
    return pattern == name ? std::optional<int64_t>(-1) : std::nullopt;
  }
  const std::string_view before = pattern.substr(0, hole);
  const std::string_view after = pattern.substr(hole + kHole.size());
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) ||
      !name.ends_with(after)) {
    return std::nullopt;
  }
  const std::string_view digits =
      name.substr(before.size(), name.size() - before.size() - after.size());
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  uint32_t block = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), block);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return block;
}

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* arch : model_table()) {
    if (arch->name == name) return arch;
  }
  return nullptr;
}

const Architecture* find_hf_architecture(std::string_view model_type) {
  for (const Architecture* arch : model_table()) {
    for (const std::string_view type : arch->hf_model_types) {
      if (type == model_type) return arch;
    }
  }
  return nullptr;
}

const Architecture* find_gguf_architecture(std::string_view gguf_name) {
  for (const Architecture* arch : model_table()) {
    if (arch->reads_gguf && arch->gguf_name == gguf_name) return arch;
  }
  return nullptr;
}

Status unknown_architecture(std::string_view name, Naming naming, const std::string& where) {
  std::string known;
  const auto list = [&known](std::string_view one) {
    known += known.empty() ? "" : ", ";
    known += one;
  };
  for (const Architecture* arch : model_table()) {
    if (naming == Naming::kHf) {
      for (const std::string_view type : arch->hf_model_types) list(type);
    } else if (arch->reads_gguf) {
      list(arch->gguf_name);
    }
  }
  return unsupported(
      fmt::format("{}: unknown architecture {}; known are {}", where, show_name(name), known));
}

const RoleSpec* find_role(const Architecture& architecture, std::string_view role) {
  for (const RoleSpec& spec : architecture.roles) {
    if (spec.role == role) return &spec;
  }
  return nullptr;
}

std::string tensor_name(const RoleSpec& role, Naming naming, int64_t block) {
  std::string name(pattern_of(role, naming));
  const std::size_t hole = name.find(kHole);
  if (hole != std::string::npos) name.replace(hole, kHole.size(), std::to_string(block));
  return name;
}

int64_t extent_size(Extent extent, const ModelConfig& config) {
  switch (extent) {
    case Extent::kOne:
      return 1;
    case Extent::kHidden:
      return config.hidden;
    case Extent::kQuery:
      return config.heads * config.head_dim;
    case Extent::kKeyValue:
      return config.kv_heads * config.head_dim;
    case Extent::kHeadDim:
      return config.head_dim;
    case Extent::kFfn:
      return config.ffn;
    case Extent::kVocab:
      return config.vocab;
    case Extent::kRopePairs:
      return config.head_dim / 2;
  }
  COLDPRESS_CHECK(false);
}

std::optional<RoleMatch> match_tensor(const Architecture& architecture, Naming naming,
                                      std::string_view name) {
  for (const RoleSpec& role : architecture.roles) {
    if (const auto block = match_pattern(pattern_of(role, naming), name)) {
      return RoleMatch{&role, *block};
    }
  }
  return std::nullopt;
}

std::optional<std::string> rename_tensor(const Architecture& architecture, Naming from, Naming to,
                                         std::string_view name) {
  const auto match = match_tensor(architecture, from, name);
  if (!match || pattern_of(*match->role, to).empty()) return std::nullopt;
  return tensor_name(*match->role, to, match->block);
}

}  // namespace coldpress
