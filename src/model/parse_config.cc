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
  return unsupported(
      fmt::format("{} is {}; known are silu, gelu and gelu_pytorch_tanh", where, show_name(name)));
}

// The keys that both conventions have, under their two names.
struct CommonKeys {
  std::string_view hidden, blocks, heads, kv_heads, head_dim, ffn, context, norm_eps;
};
constexpr CommonKeys kHfKeys{
    "hidden_size", "num_hidden_layers", "num_attention_heads",     "num_key_value_heads",
    "head_dim",    "intermediate_size", "max_position_embeddings", "rms_norm_eps"};
constexpr CommonKeys kGgufKeys{"embedding_length",     "block_count",
                               "attention.head_count", "attention.head_count_kv",
                               "attention.key_length", "feed_forward_length",
                               "context_length",       "attention.layer_norm_rms_epsilon"};

Status read_common(const ConfigKeys& keys, const CommonKeys& names, const Architecture& arch,
                   ModelConfig& config) {
  config.architecture = std::string(arch.name);
  config.qk_norm = arch.qk_norm;
  config.post_norms = arch.post_norms;
  COLDPRESS_ASSIGN_OR_RETURN(config.hidden, keys.integer(names.hidden, 1, kMaxWidth));
  COLDPRESS_ASSIGN_OR_RETURN(config.blocks, keys.integer(names.blocks, 1, kMaxBlocks));
  COLDPRESS_ASSIGN_OR_RETURN(config.heads, keys.integer(names.heads, 1, kMaxWidth));
  COLDPRESS_ASSIGN_OR_RETURN(config.kv_heads,
                             keys.integer_or(names.kv_heads, config.heads, 1, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return corrupt(fmt::format("{} is {}, which does not divide the {} attention heads",
                               keys.where(names.kv_heads), config.kv_heads, config.heads));
  }
  if (!keys.has(names.head_dim) && config.hidden % config.heads != 0) {
    return corrupt(fmt::format("{} is {}, which does not divide the width {} (and {} is missing)",
                               keys.where(names.heads), config.heads, config.hidden,
                               names.head_dim));
  }
  COLDPRESS_ASSIGN_OR_RETURN(
      config.head_dim,
      keys.integer_or(names.head_dim, config.hidden / config.heads, 1, kMaxHeadDim));
  if (config.head_dim % 2 != 0 || config.head_dim * config.heads > kMaxWidth) {
    return corrupt(
        fmt::format("{} gives {} heads of {}; a head must be even and all of them "
                    "together at most {}",
                    keys.where(keys.has(names.head_dim) ? names.head_dim : names.heads),
                    config.heads, config.head_dim, kMaxWidth));
  }
  COLDPRESS_ASSIGN_OR_RETURN(config.ffn, keys.integer(names.ffn, 1, kMaxWidth));
  COLDPRESS_ASSIGN_OR_RETURN(config.context, keys.integer_or(names.context, 2048, 1, kMaxContext));
  COLDPRESS_ASSIGN_OR_RETURN(config.norm_eps,
                             keys.number_or(names.norm_eps, arch.default_norm_eps, 0.0, 1.0));
  config.attention_scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  return {};
}

// transformers 5 keeps theta and scaling in "rope_parameters" (nested by layer type where they
// differ); before, they were "rope_theta" and "rope_scaling".
Result<RopeConfig> read_hf_rope(const ConfigKeys& keys, int64_t head_dim, double default_theta) {
  COLDPRESS_ASSIGN_OR_RETURN(const double theta,
                             keys.number_or("rope_theta", default_theta, 1.0, kMaxTheta));
  COLDPRESS_ASSIGN_OR_RETURN(const double partial,
                             keys.number_or("partial_rotary_factor", 1.0, 0.0, 1.0));
  if (partial != 1.0) {
    return unsupported(keys.where("partial_rotary_factor") +
                       " is not 1, and heads that rotate in part are not supported");
  }
  COLDPRESS_ASSIGN_OR_RETURN(auto parameters, keys.child("rope_parameters"));
  if (parameters && parameters->has("full_attention")) {
    COLDPRESS_ASSIGN_OR_RETURN(parameters, parameters->child("full_attention"));
  }
  if (!parameters) {
    COLDPRESS_ASSIGN_OR_RETURN(parameters, keys.child("rope_scaling"));
  }
  if (parameters) return read_rope(*parameters, head_dim, theta);
  RopeConfig rope;
  rope.theta = theta;
  return rope;
}

Result<ModelConfig> read_hf(const Json& json, const std::string& where) {
  if (!json.is_object()) return corrupt(where + ": a model configuration must be a JSON object");
  const ConfigKeys keys(json, where);
  COLDPRESS_ASSIGN_OR_RETURN(const std::string type, keys.text_or("model_type", ""));
  if (type.empty()) return corrupt(keys.where("model_type") + " is missing");
  const Architecture* arch = find_hf_architecture(type);
  if (arch == nullptr) return unknown_architecture(type, Naming::kHf, where);

  ModelConfig config;
  COLDPRESS_RETURN_IF_ERROR(read_common(keys, kHfKeys, *arch, config));
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
  COLDPRESS_ASSIGN_OR_RETURN(
      const std::string activation,
      keys.text_or(arch->activation_key, std::string(arch->default_activation)));
  COLDPRESS_ASSIGN_OR_RETURN(config.activation,
                             parse_activation(activation, keys.where(arch->activation_key)));
  COLDPRESS_ASSIGN_OR_RETURN(RopeConfig rope,
                             read_hf_rope(keys, config.head_dim, arch->default_rope_theta));
  config.rope.push_back(std::move(rope));
  if (arch->read_hf != nullptr) COLDPRESS_RETURN_IF_ERROR(arch->read_hf(keys, config));
  return config;
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
  rope.interleaved = arch.gguf_interleaved_rope;
  COLDPRESS_ASSIGN_OR_RETURN(
      rope.theta, keys.number_or("rope.freq_base", arch.default_rope_theta, 1.0, kMaxTheta));
  COLDPRESS_ASSIGN_OR_RETURN(
      const int64_t dims, keys.integer_or("rope.dimension_count", config.head_dim, 1, kMaxWidth));
  if (dims != config.head_dim) {
    return unsupported(
        fmt::format("{} is {} of heads of {}, and heads that rotate in part are "
                    "not supported",
                    keys.where("rope.dimension_count"), dims, config.head_dim));
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
    rope.factors.assign(static_cast<std::size_t>(config.head_dim / 2), static_cast<float>(factor));
  }
  return rope;
}

}  // namespace

Result<ModelConfig> parse_hf_config(std::string_view json_text, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_json(json_text, where));
  return read_hf(json, where);
}

Result<ModelConfig> parse_gguf_config(const GgufContent& content, const std::string& where) {
  const Json json = metadata_as_json(content);
  const ConfigKeys general(json, where);
  COLDPRESS_ASSIGN_OR_RETURN(const std::string name, general.text_or("general.architecture", ""));
  if (name.empty()) return corrupt(general.where("general.architecture") + " is missing");
  const Architecture* arch = find_gguf_architecture(name);
  if (arch == nullptr) return unknown_architecture(name, Naming::kGguf, where);

  const ConfigKeys keys(json, where, name + ".");
  ModelConfig config;
  COLDPRESS_RETURN_IF_ERROR(read_common(keys, kGgufKeys, *arch, config));
  COLDPRESS_ASSIGN_OR_RETURN(
      const int64_t value_length,
      keys.integer_or("attention.value_length", config.head_dim, 1, kMaxWidth));
  if (value_length != config.head_dim) {
    return unsupported(keys.where("attention.value_length") +
                       " differs from attention.key_length, which is not supported");
  }
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t experts,
                             keys.integer_or("expert_count", 0, 0, kMaxWidth));
  if (experts > 0) {
    return unsupported(keys.where("expert_count") +
                       " says that this is a mixture of experts, which is not supported");
  }
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
  return config;
}

}  // namespace coldpress
