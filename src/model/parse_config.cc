#include "model/parse_config.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "io/json.h"
#include "io/show_name.h"
#include "model/config_keys.h"

namespace coldpress {
namespace {

Result<Activation> parse_activation(const std::string& name, const std::string& where) {
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::kGeluTanh;
  if (name == "gelu") return Activation::kGelu;
  if (name == "relu") return Activation::kRelu;
  return unsupported(fmt::format("{} is {}; known are silu, gelu, gelu_pytorch_tanh and relu",
                                 where, show_name(name)));
}

// The keys that both conventions have; HF's names are the family's own.
ConfigNames gguf_names(const Architecture& arch) {
  return {.hidden = "embedding_length",
          .blocks = "block_count",
          .heads = "attention.head_count",
          .kv_heads = "attention.head_count_kv",
          .head_dim = "attention.key_length",
          .ffn = "feed_forward_length",
          .context = "context_length",
          .norm_eps = arch.norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                                  : "attention.layer_norm_epsilon",
          .activation = "",
          .experts = "expert_count",
          .experts_used = "expert_used_count"};
}

// ALiBi's slopes: powers of 2^(-8/n) for the largest power of two n of heads, and every other power
// of its root for the rest.
std::vector<float> alibi_slopes(int64_t heads) {
  int64_t n = 1;
  while (2 * n <= heads) n *= 2;
  std::vector<float> slopes;
  for (int64_t h = 0; h < heads; ++h) {
    const double exponent =
        h < n ? -8.0 * static_cast<double>(h + 1) / static_cast<double>(n)
              : -4.0 * static_cast<double>(2 * (h - n) + 1) / static_cast<double>(n);
    slopes.push_back(static_cast<float>(std::pow(2.0, exponent)));
  }
  return slopes;
}

Status read_experts(const ConfigKeys& keys, const ConfigNames& names, const Architecture& arch,
                    ModelConfig& config) {
  const std::string_view count = spelled(keys, names.experts);
  const std::string_view used = spelled(keys, names.experts_used);
  if (find_role(arch, "ffn_router") == nullptr) {
    const bool is_gguf = names.experts == gguf_names(arch).experts;
    if (!is_gguf) return {};
    COLDPRESS_ASSIGN_OR_RETURN(const int64_t experts, keys.integer_or(count, 0, 0, kMaxWidth));
    if (experts == 0) return {};
    return unsupported(keys.where(count) +
                       " says that this is a mixture of experts, which is not supported");
  }
  COLDPRESS_ASSIGN_OR_RETURN(config.experts, keys.integer(count, 1, kMaxExperts));
  COLDPRESS_ASSIGN_OR_RETURN(config.experts_used, keys.integer(used, 1, config.experts));
  return {};
}

Status read_common(const ConfigKeys& keys, const ConfigNames& names, const Architecture& arch,
                   ModelConfig& config) {
  config.architecture = std::string(arch.name);
  config.norm = arch.norm;
  config.parallel_residual = arch.parallel_residual;
  config.position_offset = arch.position_offset;
  const std::string_view heads = spelled(keys, names.heads);
  const std::string_view kv_heads = spelled(keys, names.kv_heads);
  const std::string_view ffn = spelled(keys, names.ffn);
  const bool has_head_dim = !names.head_dim.empty() && keys.has(names.head_dim);
  COLDPRESS_ASSIGN_OR_RETURN(config.hidden,
                             keys.integer(spelled(keys, names.hidden), 1, kMaxWidth));
  COLDPRESS_ASSIGN_OR_RETURN(config.blocks,
                             keys.integer(spelled(keys, names.blocks), 1, kMaxBlocks));
  COLDPRESS_ASSIGN_OR_RETURN(config.heads, keys.integer(heads, 1, kMaxWidth));
  config.kv_heads = config.heads;
  if (!kv_heads.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(config.kv_heads,
                               keys.integer_or(kv_heads, config.heads, 1, config.heads));
  }
  if (config.heads % config.kv_heads != 0) {
    return corrupt(fmt::format("{} is {}, which does not divide the {} attention heads",
                               keys.where(kv_heads), config.kv_heads, config.heads));
  }
  if (!has_head_dim && config.hidden % config.heads != 0) {
    return corrupt(fmt::format("{} is {}, which does not divide the width {} (and {} is missing)",
                               keys.where(heads), config.heads, config.hidden, names.head_dim));
  }
  config.head_dim = config.hidden / config.heads;
  if (has_head_dim) {
    COLDPRESS_ASSIGN_OR_RETURN(config.head_dim, keys.integer(names.head_dim, 1, kMaxHeadDim));
  }
  if (config.head_dim % 2 != 0 || config.head_dim < 1 ||
      config.head_dim * config.heads > kMaxWidth) {
    return corrupt(
        fmt::format("{} gives {} heads of {}; a head must be even and all of them "
                    "together at most {}",
                    keys.where(has_head_dim ? names.head_dim : heads), config.heads,
                    config.head_dim, kMaxWidth));
  }
  if (arch.default_ffn > 0 && (ffn.empty() || !keys.has(ffn))) {
    config.ffn = arch.default_ffn * config.hidden;
  } else {
    COLDPRESS_ASSIGN_OR_RETURN(config.ffn, keys.integer(ffn, 1, kMaxWidth));
  }
  COLDPRESS_ASSIGN_OR_RETURN(config.context,
                             keys.integer_or(spelled(keys, names.context), 2048, 1, kMaxContext));
  config.norm_eps = arch.default_norm_eps;
  if (!names.norm_eps.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(config.norm_eps,
                               keys.number_or(names.norm_eps, arch.default_norm_eps, 0.0, 1.0));
  }
  COLDPRESS_RETURN_IF_ERROR(read_experts(keys, names, arch, config));
  config.attention_scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  if (arch.positions == Positions::kAlibi) config.alibi_slopes = alibi_slopes(config.heads);
  return {};
}

// How many elements of a head rotate, from a fraction under any of its names.
Result<int64_t> read_rotary_dims(const ConfigKeys& keys, const Architecture& arch, int64_t head_dim,
                                 int64_t fallback) {
  const std::string_view key = spelled(keys, "partial_rotary_factor|rotary_pct");
  const double one = static_cast<double>(fallback) / static_cast<double>(head_dim);
  COLDPRESS_ASSIGN_OR_RETURN(const double part, keys.number_or(key, one, 0.0, 1.0));
  if (part != 1.0 && !arch.partial_rotary) {
    return unsupported(
        fmt::format("{} is not 1, but the heads of {} rotate whole", keys.where(key), arch.name));
  }
  const auto dims = static_cast<int64_t>(part * static_cast<double>(head_dim));
  if (dims % 2 != 0 || dims == 0) {
    return corrupt(
        fmt::format("{} lets {} of the {} elements of a head rotate, which is not a "
                    "number of pairs",
                    keys.where(key), dims, head_dim));
  }
  return dims;
}

// transformers 5 keeps theta and scaling in "rope_parameters" (nested by layer type where they
// differ); before, they were "rope_theta" and "rope_scaling".
Result<RopeConfig> read_hf_rope(const ConfigKeys& keys, int64_t head_dim,
                                const Architecture& arch) {
  if (arch.positions != Positions::kRotary) return RopeConfig{};
  COLDPRESS_ASSIGN_OR_RETURN(const double theta,
                             keys.number_or(spelled(keys, "rope_theta|rotary_emb_base"),
                                            arch.default_rope_theta, 1.0, kMaxTheta));
  COLDPRESS_ASSIGN_OR_RETURN(int64_t dims, read_rotary_dims(keys, arch, head_dim, head_dim));
  COLDPRESS_ASSIGN_OR_RETURN(auto parameters, keys.child("rope_parameters"));
  if (parameters && parameters->has("full_attention")) {
    COLDPRESS_ASSIGN_OR_RETURN(parameters, parameters->child("full_attention"));
  }
  if (!parameters) {
    COLDPRESS_ASSIGN_OR_RETURN(parameters, keys.child("rope_scaling"));
  }
  if (!parameters) return RopeConfig{.theta = theta, .dims = dims};
  COLDPRESS_ASSIGN_OR_RETURN(dims, read_rotary_dims(*parameters, arch, head_dim, dims));
  return read_rope(*parameters, dims, theta);
}

// Where models that take images or sound keep their language model's configuration.
constexpr std::string_view kInnerConfigs[] = {"text_config", "llm_config", "language_config"};

const Json* inner_config(const Json& json) {
  if (!json.is_object()) return nullptr;
  for (const std::string_view key : kInnerConfigs) {
    const auto it = json.find(key);
    if (it != json.end() && it->is_object()) return &*it;
  }
  return nullptr;
}

Result<ModelConfig> read_hf(const Json& whole, const std::string& where) {
  if (!whole.is_object()) return corrupt(where + ": a model configuration must be a JSON object");
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, hf_language_config(whole, where));
  const ConfigKeys keys(json, where);
  COLDPRESS_ASSIGN_OR_RETURN(const std::string type, keys.text_or("model_type", ""));
  if (type.empty()) return corrupt(keys.where("model_type") + " is missing");
  const Architecture* arch = find_hf_architecture(type, keys);
  if (arch == nullptr) return unknown_architecture(type, Naming::kHf, where);

  ModelConfig config;
  config.inside_larger = inner_config(whole) != nullptr;
  COLDPRESS_RETURN_IF_ERROR(read_common(keys, arch->keys, *arch, config));
  config.qkv_by_group = arch->hf_qkv_by_group;
  COLDPRESS_ASSIGN_OR_RETURN(config.vocab, keys.integer("vocab_size", 1, kMaxWidth));
  COLDPRESS_ASSIGN_OR_RETURN(config.tied_embeddings,
                             keys.flag_or("tie_word_embeddings", arch->default_tied));
  COLDPRESS_ASSIGN_OR_RETURN(config.attention_bias, keys.flag_or("attention_bias", false));
  COLDPRESS_ASSIGN_OR_RETURN(config.mlp_bias, keys.flag_or("mlp_bias", false));
  COLDPRESS_ASSIGN_OR_RETURN(config.attention_softcap,
                             keys.number_or("attn_logit_softcapping", 0.0, 0.0, 1e9));
  COLDPRESS_ASSIGN_OR_RETURN(config.logit_softcap,
                             keys.number_or("final_logit_softcapping", 0.0, 0.0, 1e9));
  config.norm_weight_offset = arch->hf_norm_offset;
  std::string activation(arch->default_activation);
  if (!arch->keys.activation.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(activation, keys.text_or(arch->keys.activation, activation));
  }
  COLDPRESS_ASSIGN_OR_RETURN(config.activation,
                             parse_activation(activation, keys.where(arch->keys.activation)));
  COLDPRESS_ASSIGN_OR_RETURN(RopeConfig rope, read_hf_rope(keys, config.head_dim, *arch));
  config.rope.push_back(std::move(rope));
  if (arch->read_hf != nullptr) COLDPRESS_RETURN_IF_ERROR(arch->read_hf(keys, config));
  return config;
}

// Whether the parts suit the model's sizes.
Status check_online(const OnlineParts& online, const ModelConfig& config,
                    const std::string& where) {
  if (online.kv.group == 0 || config.head_dim % online.kv.group == 0) return {};
  return corrupt(
      fmt::format("{}: keys and values are rounded in groups of {}, which do not fit in "
                  "heads of {}",
                  where, online.kv.group, config.head_dim));
}

Result<OnlineParts> gguf_online(const GgufContent& content, const std::string& where) {
  const GgufValue* value = content.find(kGgufOnlineKey);
  if (value == nullptr) return OnlineParts();
  const auto text = value->as_string();
  if (!text) return corrupt(where + ": " + kGgufOnlineKey + " is not a string");
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_json(*text, where + ": " + kGgufOnlineKey));
  return online_from_json(json, where);
}

// The metadata that configurations use, as JSON. Long arrays (vocabularies) are left out.
Json metadata_as_json(const GgufContent& content) {
  Json json = Json::object();
  // Keys are unique; appending to the members' container saves ordered_map's linear look-ups.
  auto& members = static_cast<Json::object_t::Container&>(json.get_ref<Json::object_t&>());
  for (const auto& [key, value] : content.metadata) {
    if (const auto* array = std::get_if<GgufArray>(&value.value)) {
      if (array->count > static_cast<uint64_t>(kMaxBlocks)) continue;
      const auto numbers = value.as_numbers();
      if (!numbers) continue;
      Json list = Json::array();
      for (const double n : *numbers) {
        if (std::floor(n) == n && std::abs(n) < 0x1.0p53) {
          list.push_back(static_cast<int64_t>(n));
        } else {
          list.push_back(n);
        }
      }
      members.emplace_back(key, std::move(list));
    } else if (const auto text = value.as_string()) {
      members.emplace_back(key, *text);
    } else if (value.type == GgufType::kBool) {
      members.emplace_back(key, value.as_int().value_or(0) != 0);
    } else if (const auto integer = value.as_int()) {
      members.emplace_back(key, *integer);
    } else if (const auto number = value.as_number()) {
      members.emplace_back(key, *number);
    }
  }
  return json;
}

Result<RopeConfig> read_gguf_rope(const ConfigKeys& keys, const ModelConfig& config,
                                  const Architecture& arch) {
  RopeConfig rope;
  if (arch.positions != Positions::kRotary) return rope;
  rope.interleaved = arch.gguf_interleaved_rope;
  COLDPRESS_ASSIGN_OR_RETURN(
      rope.theta, keys.number_or("rope.freq_base", arch.default_rope_theta, 1.0, kMaxTheta));
  COLDPRESS_ASSIGN_OR_RETURN(
      rope.dims, keys.integer_or("rope.dimension_count", config.head_dim, 1, kMaxWidth));
  if (rope.dims != config.head_dim &&
      (!arch.partial_rotary || rope.dims > config.head_dim || rope.dims % 2 != 0)) {
    return unsupported(fmt::format("{} is {}, but the heads of {} are {} long and rotate {}",
                                   keys.where("rope.dimension_count"), rope.dims, arch.name,
                                   config.head_dim, arch.partial_rotary ? "in pairs" : "whole"));
  }
  if (keys.has("rope.dimension_sections")) {
    COLDPRESS_ASSIGN_OR_RETURN(rope.sections,
                               keys.integers("rope.dimension_sections", 4, 0, rope.dims / 2));
    rope.sections.pop_back();  // of a fourth dimension, which no model has
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::string scaling, keys.text_or("rope.scaling.type", "none"));
  COLDPRESS_ASSIGN_OR_RETURN(const double old_factor,
                             keys.number_or("rope.scale_linear", 1.0, 1e-3, 1e6));
  COLDPRESS_ASSIGN_OR_RETURN(const double factor,
                             keys.number_or("rope.scaling.factor", old_factor, 1e-3, 1e6));
  if (scaling != "none" && scaling != "linear") {
    return unsupported(fmt::format("{} is {}; known are none and linear",
                                   keys.where("rope.scaling.type"), show_name(scaling)));
  }
  if (factor != 1.0 && (scaling == "linear" || keys.has("rope.scale_linear"))) {
    rope.factors.assign(static_cast<std::size_t>(rope.dims / 2), static_cast<float>(factor));
  }
  return rope;
}

}  // namespace

Result<Json> hf_language_config(const Json& json, const std::string& where) {
  const Json* inner = inner_config(json);
  if (inner == nullptr) return json;
  const ConfigKeys keys(*inner, where);
  COLDPRESS_ASSIGN_OR_RETURN(const std::string type, keys.text_or("model_type", ""));
  const Architecture* arch = find_hf_architecture(type, keys);
  Json merged = Json::parse(arch == nullptr ? "{}" : arch->hf_defaults);
  merged.update(*inner);
  for (const char* key : {"tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"}) {
    const auto it = json.find(key);
    if (it != json.end() && !it->is_null()) merged[key] = *it;
  }
  return merged;
}

Result<ModelConfig> parse_hf_config(std::string_view json_text, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(json_text, where));
  if (!json.is_object() || !json.contains(kOnlineKey)) return read_hf(json, where);
  COLDPRESS_ASSIGN_OR_RETURN(const OnlineParts online, online_from_json(json[kOnlineKey], where));
  if (const auto family = json.find("model_type");
      online.are_needed() && family != json.end() && family->is_string()) {
    *family = without_online_mark(family->get<std::string>());
  }
  COLDPRESS_ASSIGN_OR_RETURN(ModelConfig config, read_hf(json, where));
  COLDPRESS_RETURN_IF_ERROR(check_online(online, config, where));
  config.online = online;
  return config;
}

Result<ModelConfig> parse_gguf_config(const GgufContent& content, const std::string& where) {
  const Json json = metadata_as_json(content);
  const ConfigKeys general(json, where);
  COLDPRESS_ASSIGN_OR_RETURN(std::string name, general.text_or("general.architecture", ""));
  if (name.empty()) return corrupt(general.where("general.architecture") + " is missing");
  ModelConfig config;
  COLDPRESS_ASSIGN_OR_RETURN(config.online, gguf_online(content, where));
  if (config.online.are_needed()) name = without_online_mark(name);
  const Architecture* arch = find_gguf_architecture(name, content);
  if (arch == nullptr) return unknown_architecture(name, Naming::kGguf, where);

  const ConfigKeys keys(json, where, name + ".");
  COLDPRESS_RETURN_IF_ERROR(read_common(keys, gguf_names(*arch), *arch, config));
  COLDPRESS_ASSIGN_OR_RETURN(
      const int64_t value_length,
      keys.integer_or("attention.value_length", config.head_dim, 1, kMaxWidth));
  if (value_length != config.head_dim) {
    return unsupported(keys.where("attention.value_length") +
                       " differs from attention.key_length, which is not supported");
  }
  COLDPRESS_ASSIGN_OR_RETURN(config.activation,
                             parse_activation(std::string(arch->default_activation), where));
  const std::string embedding = tensor_name(*find_role(*arch, "token_embd"), Naming::kGguf, -1);
  const GgufTensor* tensor = content.find_tensor(embedding);
  if (tensor == nullptr || tensor->shape.size() != 2 || tensor->shape[0] < 1 ||
      tensor->shape[0] > kMaxWidth) {
    return corrupt(fmt::format("{}: tensor \"{}\" is missing or not a matrix of the vocabulary",
                               where, embedding));
  }
  config.vocab = tensor->shape[0];
  const std::string output = tensor_name(*find_role(*arch, "output"), Naming::kGguf, -1);
  config.tied_embeddings = content.find_tensor(output) == nullptr;
  COLDPRESS_ASSIGN_OR_RETURN(config.attention_softcap,
                             keys.number_or("attn_logit_softcapping", 0.0, 0.0, 1e9));
  COLDPRESS_ASSIGN_OR_RETURN(config.logit_softcap,
                             keys.number_or("final_logit_softcapping", 0.0, 0.0, 1e9));
  COLDPRESS_ASSIGN_OR_RETURN(RopeConfig rope, read_gguf_rope(keys, config, *arch));
  config.rope.push_back(std::move(rope));
  if (arch->read_gguf != nullptr) COLDPRESS_RETURN_IF_ERROR(arch->read_gguf(keys, config));
  COLDPRESS_RETURN_IF_ERROR(check_online(config.online, config, where));
  return config;
}

}  // namespace coldpress
