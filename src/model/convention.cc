#include "model/convention.h"

namespace coldpress {
namespace {

// The HF row of row `row` of a GGUF tensor whose rotary pairs stand side by side.
int64_t hf_rotary_row(const ModelConfig& config, int64_t row) {
  const int64_t head = row / config.head_dim * config.head_dim;
  const int64_t i = row % config.head_dim;
  return head + i % 2 * (config.head_dim / 2) + i / 2;
}

// The HF row of row `row` of a GGUF fused tensor: HF keeps (key head; its queries, key, value),
// GGUF all queries, then all keys, then all values.
int64_t hf_qkv_row(const ModelConfig& config, int64_t row) {
  const int64_t group = config.heads / config.kv_heads;
  const int64_t head = row / config.head_dim;
  int64_t key_head = head / group;
  int64_t place = head % group;
  if (head >= config.heads) {
    key_head = (head - config.heads) % config.kv_heads;
    place = group + (head - config.heads) / config.kv_heads;
  }
  return (key_head * (group + 2) + place) * config.head_dim + row % config.head_dim;
}

}  // namespace

std::vector<int64_t> row_order(const Architecture& architecture, const RoleSpec& role,
                               const ModelConfig& config, Naming from, Naming to) {
  const bool rotary = role.is_rotary && architecture.gguf_interleaved_rope;
  const bool fused = role.is_qkv && architecture.hf_qkv_by_group;
  if (from == to || (!rotary && !fused)) return {};
  const int64_t rows = extent_size(role.rows == Extent::kOne ? role.cols : role.rows, config);
  std::vector<int64_t> order(static_cast<std::size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t hf = rotary ? hf_rotary_row(config, r) : hf_qkv_row(config, r);
    if (to == Naming::kGguf) {
      order[static_cast<std::size_t>(r)] = hf;
    } else {
      order[static_cast<std::size_t>(hf)] = r;
    }
  }
  return order;
}

}  // namespace coldpress
