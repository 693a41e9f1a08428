// The table of architectures: each is a frozen declaration of roles (arch/*.cc). Everything else
// (tensor names in both conventions, shapes, taps, what is quantised) is derived from it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/config.h"

namespace coldpress {

class ConfigKeys;

// The two spellings of the same model: Hugging Face safetensors and GGUF.
enum class Naming { kHf, kGguf };

// A tensor's extent in terms of the configuration.
enum class Extent : uint8_t {
  kOne,
  kHidden,
  kQuery,
  kKeyValue,
  kHeadDim,
  kFfn,
  kVocab,
  kRopePairs
};

enum class Presence : uint8_t {
  kRequired,
  kOptional,       // used where the source has it
  kUntied,         // required in HF unless the embeddings are tied; in GGUF its absence ties them
  kAttentionBias,  // HF: as config.attention_bias says; GGUF: optional
  kMlpBias,        // HF: as config.mlp_bias says; GGUF: optional
};

// One role and where each convention keeps it. "{}" in a name stands for the block's index; names
// without it belong to the whole model. An empty name: that convention never stores the role.
struct RoleSpec {
  std::string_view role;
  std::string_view hf;
  std::string_view gguf;
  Extent rows = Extent::kOne;  // kOne: a 1-D tensor of `cols`
  Extent cols = Extent::kHidden;
  Presence presence = Presence::kRequired;
  std::string_view tap = {};  // of a linear: the activation it reads; empty for everything else
  // RMS gains: HF stores gain - Architecture::hf_norm_offset, GGUF the gain itself.
  bool is_gain = false;
  // Rows of rotary heads: where Architecture::gguf_interleaved_rope is set, GGUF stores row
  // (pair p, half s) of each head at 2p + s, HF at s * head_dim/2 + p.
  bool is_rotary = false;

  bool per_block() const { return (hf.empty() ? gguf : hf).find("{}") != std::string_view::npos; }
  bool is_linear() const { return !tap.empty(); }
  constexpr RoleSpec with(Presence p) const {
    RoleSpec copy = *this;
    copy.presence = p;
    return copy;
  }
};

struct Architecture {
  std::string_view name;                             // what the user reads
  std::span<const std::string_view> hf_model_types;  // "model_type" in config.json
  std::string_view hf_class;                         // "architectures" in config.json, to write
  std::string_view gguf_name;                        // "general.architecture" to write
  bool reads_gguf = true;  // false: gguf_name is another entry's, which reads those files
  std::span<const RoleSpec> roles;

  bool qk_norm = false;
  bool post_norms = false;
  double hf_norm_offset = 0.0;
  bool gguf_interleaved_rope = false;
  bool default_tied = false;       // HF: when config.json does not say
  double default_norm_eps = 1e-6;  // likewise
  double default_rope_theta = 10000.0;
  std::string_view activation_key = "hidden_act";
  std::string_view default_activation = "silu";

  // The family's own keys, after the common ones are in `config`; may be nullptr.
  Status (*read_hf)(const ConfigKeys& keys, ModelConfig& config) = nullptr;
  Status (*read_gguf)(const ConfigKeys& keys, ModelConfig& config) = nullptr;
};

// Generated from arch/*.cc.
std::span<const Architecture* const> model_table();

// nullptr: unknown.
const Architecture* find_architecture(std::string_view name);
const Architecture* find_hf_architecture(std::string_view model_type);
const Architecture* find_gguf_architecture(std::string_view gguf_name);
// The error for an unknown name; lists what is known. `where` names the file.
Status unknown_architecture(std::string_view name, Naming naming, const std::string& where);

const RoleSpec* find_role(const Architecture& architecture, std::string_view role);
// The tensor's name; `block` is ignored for roles of the whole model. Empty if never stored so.
std::string tensor_name(const RoleSpec& role, Naming naming, int64_t block);
int64_t extent_size(Extent extent, const ModelConfig& config);

// The role a tensor plays, and in which block (-1: whole model). nullopt: none that we know.
struct RoleMatch {
  const RoleSpec* role = nullptr;
  int64_t block = -1;
};
std::optional<RoleMatch> match_tensor(const Architecture& architecture, Naming naming,
                                      std::string_view name);
// The same tensor's name in the other convention; nullopt if it has none.
std::optional<std::string> rename_tensor(const Architecture& architecture, Naming from, Naming to,
                                         std::string_view name);

}  // namespace coldpress
