#include "model/sites.h"

#include <utility>

namespace coldpress {
namespace {

std::vector<std::string_view> readers_of(const Architecture& arch, std::string_view tap) {
  std::vector<std::string_view> readers;
  for (const RoleSpec& role : arch.roles) {
    if (role.tap == tap) readers.push_back(role.role);
  }
  return readers;
}

bool has(const Architecture& arch, std::string_view role) {
  return find_role(arch, role) != nullptr;
}

std::string why_residual_cannot_rotate(const Architecture& arch) {
  if (arch.norm == NormKind::kLayer) {
    return "LayerNorms subtract the mean over channels, which a rotation does not keep";
  }
  if (has(arch, "attn_post_norm") || has(arch, "ffn_post_norm")) {
    return "norms of what is added to the residual scale its channels one by one";
  }
  if (!has(arch, "attn_norm") || !has(arch, "ffn_norm")) {
    return "linears read the residual without a norm that its gain could leave";
  }
  return {};
}

}  // namespace

std::vector<ScaleSite> scale_sites(const Architecture& arch) {
  std::vector<ScaleSite> sites;
  for (const auto& [norm, tap] :
       {std::pair<std::string_view, std::string_view>{"attn_norm", "attn_in"},
        {"ffn_norm", "ffn_in"}}) {
    if (has(arch, norm)) sites.push_back({norm, readers_of(arch, tap)});
  }
  // Side by side, one norm may serve attention and feed-forward.
  if (arch.parallel_residual && !has(arch, "ffn_norm") && !sites.empty()) {
    const auto more = readers_of(arch, "ffn_in");
    sites.front().readers.insert(sites.front().readers.end(), more.begin(), more.end());
  }
  return sites;
}

std::vector<RotationSite> rotation_sites(const Architecture& arch) {
  RotationSite residual{.name = "residual", .why_not = why_residual_cannot_rotate(arch)};
  residual.is_possible = residual.why_not.empty();
  // Attention mixes the values of tokens and leaves their channels alone.
  return {residual, {.name = "value_heads", .is_possible = true, .why_not = {}}};
}

HeadRows value_head_rows(const ModelConfig& config, bool is_fused) {
  const int64_t dim = config.head_dim;
  const int64_t group = config.heads / config.kv_heads;
  if (!is_fused) return {0, dim};
  if (config.qkv_by_group) return {(group + 1) * dim, (group + 2) * dim};
  return {(config.heads + config.kv_heads) * dim, dim};
}

}  // namespace coldpress
