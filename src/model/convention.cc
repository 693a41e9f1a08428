#include "model/convention.h"

#include <vector>

#include "base/check.h"

namespace coldpress {

bool moves_rows(const Architecture& architecture, const RoleSpec& role) {
  return architecture.gguf_interleaved_rope && role.is_rotary;
}

int64_t source_row(const ModelConfig& config, Naming from, Naming to, int64_t row) {
  if (from == to) return row;
  const int64_t half = config.head_dim / 2;
  const int64_t head = row / config.head_dim * config.head_dim;
  const int64_t i = row % config.head_dim;
  // HF keeps (side, pair), GGUF (pair, side).
  return to == Naming::kGguf ? head + i % 2 * half + i / 2 : head + i % half * 2 + i / half;
}

void convert_layout(const Architecture& architecture, const RoleSpec& role,
                    const ModelConfig& config, Naming from, Naming to, View2<float> values) {
  if (from == to) return;
  if (role.is_gain) {
    const auto offset = static_cast<float>(architecture.hf_norm_offset);
    for (int64_t i = 0; i < values.rows; ++i) {
      for (int64_t j = 0; j < values.cols; ++j) {
        values(i, j) += to == Naming::kGguf ? offset : -offset;
      }
    }
  }
  if (!moves_rows(architecture, role)) return;
  // A bias is one row whose entries belong to the rows of the weight.
  const bool is_bias = role.rows == Extent::kOne;
  COLDPRESS_CHECK((is_bias ? values.cols : values.rows) % config.head_dim == 0);
  MatrixF copy(values.rows, values.cols);
  for (int64_t i = 0; i < values.rows; ++i) {
    for (int64_t j = 0; j < values.cols; ++j) copy(i, j) = values(i, j);
  }
  for (int64_t i = 0; i < values.rows; ++i) {
    for (int64_t j = 0; j < values.cols; ++j) {
      values(i, j) = is_bias ? copy(i, source_row(config, from, to, j))
                             : copy(source_row(config, from, to, i), j);
    }
  }
}

}  // namespace coldpress
