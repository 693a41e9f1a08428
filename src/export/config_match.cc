#include "export/config_match.h"

#include <cmath>
#include <cstddef>
#include <set>
#include <string_view>

#include "model/table.h"

namespace coldpress {
namespace {

bool same_float(double a, double b) { return static_cast<float>(a) == static_cast<float>(b); }

int64_t window_of(const ModelConfig& c, int64_t block) {
  return c.sliding_window.empty() ? 0 : c.sliding_window[static_cast<std::size_t>(block)];
}

const RopeConfig& rope_of(const ModelConfig& c, int64_t block) {
  return c.rope.size() == 1 ? c.rope.front() : c.rope[static_cast<std::size_t>(block)];
}

// Two entries of the table may read the same container: they must know the same weights.
bool same_roles(const ModelConfig& a, const ModelConfig& b) {
  if (a.architecture == b.architecture) return true;
  std::set<std::string_view> roles[2];
  for (const int i : {0, 1}) {
    const Architecture* arch = find_architecture(i == 0 ? a.architecture : b.architecture);
    if (arch == nullptr) return false;
    for (const RoleSpec& role : arch->roles) roles[i].insert(role.role);
  }
  return roles[0] == roles[1];
}

float factor_of(const RopeConfig& rope, std::size_t pair) {
  return rope.factors.empty() ? 1.0F : rope.factors[pair];
}

}  // namespace

std::optional<std::string> first_difference(const ModelConfig& a, const ModelConfig& b) {
  if (a.hidden != b.hidden || a.blocks != b.blocks || a.heads != b.heads ||
      a.kv_heads != b.kv_heads || a.head_dim != b.head_dim || a.ffn != b.ffn ||
      a.vocab != b.vocab) {
    return "sizes";
  }
  if (a.dense_ffn != b.dense_ffn) return "blocks without experts";
  if (a.context != b.context) return "context length";
  if (!same_float(a.norm_eps, b.norm_eps)) return "norm epsilon";
  if (a.tied_embeddings != b.tied_embeddings) return "tied embeddings";
  // Derived from sizes by square roots; a last-bit difference changes nothing.
  if (std::fabs(a.attention_scale - b.attention_scale) > 1e-7 * a.attention_scale) {
    return "attention scale";
  }
  if (!same_float(a.embedding_scale, b.embedding_scale)) return "embedding scale";
  if (!same_float(a.attention_softcap, b.attention_softcap)) return "attention soft-capping";
  if (!same_float(a.logit_softcap, b.logit_softcap)) return "logit soft-capping";
  if (a.activation != b.activation) return "activation function";
  if (!same_roles(a, b) || a.norm != b.norm) return "set of weights";
  if (a.parallel_residual != b.parallel_residual) return "order of attention and feed-forward";
  if (!same_float(a.residual_scale, b.residual_scale)) return "residual scale";
  if (!same_float(a.logit_scale, b.logit_scale)) return "logit scale";
  if (a.alibi_slopes != b.alibi_slopes) return "ALiBi slopes";
  if (a.position_offset != b.position_offset) return "first learned position";
  if (a.experts != b.experts || a.experts_used != b.experts_used ||
      a.normalise_routes != b.normalise_routes) {
    return "routing of experts";
  }
  for (int64_t block = 0; block < a.blocks; ++block) {
    if (a.has_experts(block) != b.has_experts(block)) return "blocks without experts";
    if (window_of(a, block) != window_of(b, block)) return "sliding windows";
    const RopeConfig& ra = rope_of(a, block);
    const RopeConfig& rb = rope_of(b, block);
    if (ra.dims != rb.dims) return "blocks and heads that rotate";
    if (ra.dims > 0 && !same_float(ra.theta, rb.theta)) return "rotary base frequency";
    if (ra.sections != rb.sections) return "rotary sections";
    for (std::size_t pair = 0; pair < static_cast<std::size_t>(ra.dims / 2); ++pair) {
      if (factor_of(ra, pair) != factor_of(rb, pair)) return "rotary frequency scaling";
    }
  }
  if (a.online != b.online) return "online parts";
  return std::nullopt;
}

}  // namespace coldpress
