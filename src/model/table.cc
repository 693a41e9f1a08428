#include "model/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/check.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

constexpr std::string_view kHole = "{}";

std::string_view pattern_of(const RoleSpec& role, Naming naming) {
  return naming == Naming::kHf ? role.hf : role.gguf;
}

// A plain decimal number at the start of `text`, which is moved past it.
std::optional<int64_t> take_number(std::string_view& text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || (digits > 1 && text.front() == '0')) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

// The numbers in the holes of `pattern` if `name` is `pattern` with plain decimal numbers there.
std::optional<std::vector<int64_t>> match_pattern(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return std::nullopt;
  std::vector<int64_t> numbers;
  while (true) {
    const std::size_t hole = pattern.find(kHole);
    if (hole == std::string_view::npos) break;
    if (!name.starts_with(pattern.substr(0, hole))) return std::nullopt;
    name.remove_prefix(hole);
    pattern.remove_prefix(hole + kHole.size());
    const auto number = take_number(name);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  if (name != pattern) return std::nullopt;
  return numbers;
}

// How the names of a language model change inside a model that also takes images or sound: `whole`
// stands at their start in the place of `own`.
struct Wrapping {
  std::string_view own;
  std::string_view whole;
};
constexpr Wrapping kWrappings[] = {
    {"", "language_model."}, {"model.", "model.language_model."}, {"model.", "model.text_model."}};

// The same where names may lack the prefix that patterns have.
std::optional<std::vector<int64_t>> match_prefixed(std::string_view prefix,
                                                   std::string_view pattern,
                                                   std::string_view name) {
  auto numbers = match_pattern(pattern, name);
  if (!numbers && !prefix.empty() && pattern.starts_with(prefix)) {
    numbers = match_pattern(pattern.substr(prefix.size()), name);
  }
  return numbers;
}

// The same where names may be those of a part of a larger model.
std::optional<std::vector<int64_t>> match_hf(std::string_view prefix, std::string_view pattern,
                                             std::string_view name) {
  auto numbers = match_prefixed(prefix, pattern, name);
  for (const Wrapping& wrapping : kWrappings) {
    if (numbers.has_value()) break;
    if (!name.starts_with(wrapping.whole) || !pattern.starts_with(wrapping.own)) continue;
    numbers =
        match_pattern(pattern.substr(wrapping.own.size()), name.substr(wrapping.whole.size()));
  }
  return numbers;
}

std::string filled(std::string_view pattern, int64_t block, int64_t expert) {
  std::string name(pattern);
  for (const int64_t number : {block, expert}) {
    const std::size_t hole = name.find(kHole);
    if (hole != std::string::npos) name.replace(hole, kHole.size(), std::to_string(number));
  }
  return name;
}

// Of the entries of which `is_named` holds, the one whose claim holds, else the one without.
template <typename Named, typename Claims>
const Architecture* find_claimed(Named is_named, Claims claims) {
  const Architecture* plain = nullptr;
  for (const Architecture* arch : model_table()) {
    if (!is_named(*arch)) continue;
    const std::optional<bool> claimed = claims(*arch);
    if (claimed == true) return arch;
    if (!claimed.has_value()) plain = arch;
  }
  return plain;
}

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* arch : model_table()) {
    if (arch->name == name) return arch;
  }
  return nullptr;
}

const Architecture* find_hf_architecture(std::string_view model_type, const ConfigKeys& keys) {
  return find_claimed(
      [&](const Architecture& arch) {
        return std::find(arch.hf_model_types.begin(), arch.hf_model_types.end(), model_type) !=
               arch.hf_model_types.end();
      },
      [&](const Architecture& arch) {
        return arch.claims_hf == nullptr ? std::optional<bool>() : arch.claims_hf(keys);
      });
}

const Architecture* find_gguf_architecture(std::string_view gguf_name, const GgufContent& content) {
  return find_claimed(
      [&](const Architecture& arch) { return arch.reads_gguf && arch.gguf_name == gguf_name; },
      [&](const Architecture& arch) {
        return arch.claims_gguf == nullptr ? std::optional<bool>() : arch.claims_gguf(content);
      });
}

Status unknown_architecture(std::string_view name, Naming naming, const std::string& where) {
  std::set<std::string_view> known;
  for (const Architecture* arch : model_table()) {
    if (naming == Naming::kHf) {
      known.insert(arch->hf_model_types.begin(), arch->hf_model_types.end());
    } else if (arch->reads_gguf && !arch->gguf_name.empty()) {
      known.insert(arch->gguf_name);
    }
  }
  return unsupported(fmt::format("{}: unknown architecture {}; known are {}", where,
                                 show_name(name), fmt::join(known, ", ")));
}

const RoleSpec* find_role(const Architecture& architecture, std::string_view role) {
  for (const RoleSpec& spec : architecture.roles) {
    if (spec.role == role) return &spec;
  }
  return nullptr;
}

std::string tensor_name(const RoleSpec& role, Naming naming, int64_t block, int64_t expert) {
  return filled(pattern_of(role, naming), block, expert);
}

std::vector<std::string> hf_spellings(const Architecture& architecture, const std::string& name) {
  std::vector<std::string> names = {name};
  const std::string_view prefix = architecture.hf_prefix;
  if (!prefix.empty() && name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
  for (const Wrapping& wrapping : kWrappings) {
    if (!name.starts_with(wrapping.own)) continue;
    names.push_back(std::string(wrapping.whole) + name.substr(wrapping.own.size()));
  }
  return names;
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
    case Extent::kQkv:
      return (config.heads + 2 * config.kv_heads) * config.head_dim;
    case Extent::kHeadDim:
      return config.head_dim;
    case Extent::kFfn:
      return config.ffn;
    case Extent::kGateUp:
      return 2 * config.ffn;
    case Extent::kDenseFfn:
      return config.dense_ffn;
    case Extent::kExperts:
      return config.experts;
    case Extent::kVocab:
      return config.vocab;
    case Extent::kPositions:
      return config.context + config.position_offset;
    case Extent::kRopePairs:
      return config.rope.front().dims / 2;
  }
  COLDPRESS_CHECK(false);
}

std::optional<RoleMatch> match_tensor(const Architecture& architecture, Naming naming,
                                      std::string_view name) {
  const bool hf = naming == Naming::kHf;
  for (const RoleSpec& role : architecture.roles) {
    for (const std::string_view pattern :
         {pattern_of(role, naming), hf ? role.hf_stacked : std::string_view()}) {
      const auto numbers =
          hf ? match_hf(architecture.hf_prefix, pattern, name) : match_pattern(pattern, name);
      if (!numbers) continue;
      RoleMatch match{&role};
      if (!numbers->empty()) match.block = numbers->front();
      if (numbers->size() > 1) match.expert = numbers->back();
      match.is_stacked = role.per_expert && numbers->size() == 1;
      return match;
    }
  }
  return std::nullopt;
}

bool is_buffer(const Architecture& architecture, Naming naming, std::string_view name) {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  return naming == Naming::kHf &&
         std::any_of(architecture.hf_buffers.begin(), architecture.hf_buffers.end(),
                     [&](std::string_view pattern) {
                       return match_hf(architecture.hf_prefix, pattern, name).has_value();
                     });
}

std::optional<std::string> rename_tensor(const Architecture& architecture, Naming from, Naming to,
                                         std::string_view name) {
  const auto match = match_tensor(architecture, from, name);
  if (!match || pattern_of(*match->role, to).empty()) return std::nullopt;
  return tensor_name(*match->role, to, match->block, match->expert);
}

}  // namespace coldpress
