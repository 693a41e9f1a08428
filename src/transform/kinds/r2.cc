// R2 (2405.16406): each value head is rotated, and what the output projection reads of it back.
// Attention mixes the values of tokens and leaves their channels alone.
#include <memory>
#include <vector>

#include "linalg/rotation.h"
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& /*model*/, const TransformStep& step) {
  return step.setting.empty() ? Status() : invalid_argument("it has no setting");
}

// Of R1's seed; blocks and heads follow.
constexpr uint64_t kFirstStream = 1000;

void edit(const Model& model, const TransformStep& /*step*/, const TransformOptions& options,
          WeightEdits& edits) {
  const ModelConfig& c = model.config();
  const int64_t dim = c.head_dim;
  const int64_t group = c.heads / c.kv_heads;
  for (int block = 0; block < c.blocks; ++block) {
    auto rotations = std::make_shared<std::vector<Rotation>>();
    for (int64_t head = 0; head < c.kv_heads; ++head) {
      rotations->push_back(Rotation::hadamard(
          dim, options.seed, kFirstStream + static_cast<uint64_t>(block * c.kv_heads + head)));
    }
    // `first`: the row of value head 0, `step`: from one to the next.
    const auto heads_from = [&](int64_t first, int64_t step) -> WeightEdits::Edit {
      return [rotations, first, step, dim](View2<float> values) {
        int64_t at = first;
        for (const Rotation& r : *rotations) {
          if (values.rows == 1) {  // a bias
            r.to_rows(values.block(0, at, 1, dim));
          } else {
            r.to_columns(values.row_range(at, dim));
          }
          at += step;
        }
        return Status();
      };
    };
    const auto fused = c.qkv_by_group ? heads_from((group + 1) * dim, (group + 2) * dim)
                                      : heads_from((c.heads + c.kv_heads) * dim, dim);
    for (const char* suffix : {"", "_bias"}) {
      edits.add(std::string("attn_v") + suffix, block, heads_from(0, dim));
      edits.add(std::string("attn_qkv") + suffix, block, fused);
    }
    edits.add("attn_o", block, [rotations, dim, group](View2<float> values) {
      int64_t at = 0;
      for (const Rotation& r : *rotations) {
        for (int64_t q = 0; q < group; ++q, at += dim) {
          r.to_rows(values.block(0, at, values.rows, dim));
        }
      }
      return Status();
    });
  }
}

}  // namespace

extern const TransformKind kTransformKind_r2;
const TransformKind kTransformKind_r2 = {
    .name = "r2",
    .summary = "each value head is rotated",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
