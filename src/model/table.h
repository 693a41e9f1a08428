// The table of architectures: each is a frozen declaration of roles (arch/*.cc). Everything else
// (tensor names in both conventions, shapes, taps, what is quantised, which parts a block has) is
// derived from it: a block has a fused qkv, a gate, norms before or after, learned positions or
// experts if and only if the declaration lists their roles.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"
#include "io/json_type.h"
#include "model/config.h"

namespace coldpress {

class ConfigKeys;
class GgufKeys;

// The two spellings of the same model: Hugging Face safetensors and GGUF.
enum class Naming { kHf, kGguf };

// A tensor's extent in terms of the configuration.
enum class Extent : uint8_t {
  kOne,
  kHidden,
  kQuery,
  kKeyValue,
  kQkv,  // query + 2 key-value
  kHeadDim,
  kFfn,
  kGateUp,  // 2 ffn
  kDenseFfn,
  kExperts,
  kVocab,
  kPositions,  // context + position_offset
  kRopePairs
};

enum class Presence : uint8_t {
  kRequired,
  kOptional,       // used where the source has it
  kUntied,         // required in HF unless the embeddings are tied; in GGUF its absence ties them
  kAttentionBias,  // HF: as config.attention_bias says; GGUF: optional
  kMlpBias,        // HF: as config.mlp_bias says; GGUF: optional
  kFused,          // used where the source has it, instead of those that are kSplit
  kSplit
};

// One role and where each convention keeps it. The first "{}" in a name stands for the block's
// index, a second one for the expert's; names without any belong to the whole model. An empty name:
// that convention never stores the role.
struct RoleSpec {
  std::string_view role;
  std::string_view hf;
  std::string_view gguf;
  Extent rows = Extent::kOne;  // kOne: a 1-D tensor of `cols`
  Extent cols = Extent::kHidden;
  Presence presence = Presence::kRequired;
  std::string_view tap =
      {};                // of a matrix: the activation it multiplies; empty for everything else
  bool is_kept = false;  // of a matrix with a tap: never quantised (a router)
  // RMS gains: HF stores gain - Architecture::hf_norm_offset, GGUF the gain itself.
  bool is_gain = false;
  // Rows of rotary heads: where Architecture::gguf_interleaved_rope is set, GGUF stores row
  // (pair p, half s) of each head at 2p + s, HF at s * head_dim/2 + p.
  bool is_rotary = false;
  bool is_qkv = false;         // rows of a fused qkv, by key head in HF if Architecture says so
  bool hf_transposed = false;  // HF stores (in, out)
  // One matrix per expert. A name with a second "{}" is one tensor per expert, a name without it
  // one 3-D tensor (expert, row, column).
  bool per_expert = false;
  // Of models with experts: in the blocks that have none.
  bool dense_blocks_only = false;
  // Such a tensor in HF where it is there instead of `hf`.
  std::string_view hf_stacked = {};
  // Of a fused matrix that GGUF keeps as two: the roles of its upper and its lower half.
  std::string_view gguf_upper = {};
  std::string_view gguf_lower = {};

  bool per_block() const { return (hf.empty() ? gguf : hf).find("{}") != std::string_view::npos; }
  // Whether the block has such a tensor at all.
  bool is_in(const ModelConfig& config, int64_t block) const {
    if (dense_blocks_only) return !config.has_experts(block);
    return config.has_experts(block) || !(per_expert || rows == Extent::kExperts);
  }
  bool is_linear() const { return !tap.empty() && !is_kept; }
  constexpr RoleSpec with(Presence p) const {
    RoleSpec copy = *this;
    copy.presence = p;
    return copy;
  }
  // The same role where a family's checkpoints call it something else.
  constexpr RoleSpec in_hf(std::string_view name) const {
    RoleSpec copy = *this;
    copy.hf = name;
    return copy;
  }
  constexpr RoleSpec in_gguf(std::string_view name) const {
    RoleSpec copy = *this;
    copy.gguf = name;
    return copy;
  }
  constexpr RoleSpec transposed() const {
    RoleSpec copy = *this;
    copy.hf_transposed = true;
    return copy;
  }
  constexpr RoleSpec stacked(std::string_view name) const {
    RoleSpec copy = *this;
    copy.hf_stacked = name;
    return copy;
  }
};

// The keys of config.json that every family has, under this family's names. "a|b": b is an older
// spelling of a, which is read but not written. Empty: the family has no such key.
struct ConfigNames {
  std::string_view hidden = "hidden_size";
  std::string_view blocks = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads";  // empty: as many as heads
  std::string_view head_dim = "head_dim";             // empty: hidden / heads
  std::string_view ffn = "intermediate_size";
  std::string_view context = "max_position_embeddings";
  std::string_view norm_eps = "rms_norm_eps";
  std::string_view activation = "hidden_act";
  std::string_view experts = "num_local_experts|num_experts";
  std::string_view experts_used = "num_experts_per_tok";
};

enum class Positions { kRotary, kAlibi, kLearned };

struct Architecture {
  std::string_view name;                             // what the user reads
  std::span<const std::string_view> hf_model_types;  // "model_type" in config.json
  std::string_view hf_class;  // "architectures" in config.json, to write; empty: a part of a larger
                              // model, which cannot be written from GGUF
  std::string_view gguf_name;  // "general.architecture" to write; empty: GGUF has none
  bool reads_gguf = true;      // false: gguf_name is another entry's, which reads those files
  // Where entries share a name: whether a source is this one's. nullptr: if no other claims it.
  bool (*claims_hf)(const ConfigKeys& keys) = nullptr;
  bool (*claims_gguf)(const GgufContent& content) = nullptr;
  std::span<const RoleSpec> roles;
  // HF: tensors that checkpoints may hold although they follow from the configuration.
  std::span<const std::string_view> hf_buffers = {};
  // HF: what older checkpoints leave out at the start of every name.
  std::string_view hf_prefix = {};
  // HF: the keys, as JSON, that a "text_config" inside a larger model's config.json leaves out
  // where they have these values.
  std::string_view hf_defaults = "{}";

  NormKind norm = NormKind::kRms;
  Positions positions = Positions::kRotary;
  double hf_norm_offset = 0.0;
  bool gguf_interleaved_rope = false;
  bool hf_qkv_by_group = false;    // ModelConfig::qkv_by_group in HF; GGUF never has it
  bool parallel_residual = false;  // ModelConfig's, unless read_* change it
  int64_t position_offset = 0;     // ModelConfig's
  bool partial_rotary = false;     // heads may rotate in part
  ConfigNames keys = {};
  int64_t default_ffn = 0;         // HF: times hidden, when config.json does not say; 0: it must
  bool default_tied = false;       // HF: when config.json does not say
  double default_norm_eps = 1e-6;  // likewise
  double default_rope_theta = 10000.0;
  std::string_view default_activation = "silu";  // likewise, and GGUF's

  // The family's own keys, after the common ones are in `config`; may be nullptr.
  Status (*read_hf)(const ConfigKeys& keys, ModelConfig& config) = nullptr;
  Status (*read_gguf)(const ConfigKeys& keys, ModelConfig& config) = nullptr;
  // The inverse: what the family's own keys must say.
  void (*write_hf)(const ModelConfig& config, Json& json) = nullptr;
  void (*write_gguf)(const ModelConfig& config, GgufKeys& keys) = nullptr;
};

// Generated from arch/*.cc.
std::span<const Architecture* const> model_table();

// nullptr: unknown.
const Architecture* find_architecture(std::string_view name);
const Architecture* find_hf_architecture(std::string_view model_type, const ConfigKeys& keys);
const Architecture* find_gguf_architecture(std::string_view gguf_name, const GgufContent& content);
// The error for an unknown name; lists what is known. `where` names the file.
Status unknown_architecture(std::string_view name, Naming naming, const std::string& where);

const RoleSpec* find_role(const Architecture& architecture, std::string_view role);
// The tensor's name; `block` and `expert` are ignored where the name has no place for them. Empty
// if never stored so.
std::string tensor_name(const RoleSpec& role, Naming naming, int64_t block, int64_t expert = 0);
int64_t extent_size(Extent extent, const ModelConfig& config);

// Every name that an HF tensor may go by in place of `name`: itself first, then without
// Architecture::hf_prefix, then as part of a model that also takes images or sound.
std::vector<std::string> hf_spellings(const Architecture& architecture, const std::string& name);

// The role a tensor plays, and in which block (-1: whole model). nullopt: none that we know.
struct RoleMatch {
  const RoleSpec* role = nullptr;
  int64_t block = -1;
  int64_t expert = -1;      // of a tensor that is one expert's
  bool is_stacked = false;  // a 3-D tensor of all experts
};
std::optional<RoleMatch> match_tensor(const Architecture& architecture, Naming naming,
                                      std::string_view name);
// True of a tensor that follows from the configuration (Architecture::hf_buffers and the like).
bool is_buffer(const Architecture& architecture, Naming naming, std::string_view name);
// The same tensor's name in the other convention; nullopt if it has none.
std::optional<std::string> rename_tensor(const Architecture& architecture, Naming from, Naming to,
                                         std::string_view name);

}  // namespace coldpress
