// R2 (2405.16406): each value head is rotated, and what the output projection reads of it back.
// Attention mixes the values of tokens and leaves their channels alone.
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "linalg/rotation.h"
#include "model/sites.h"
#include "transform/learn_rotation.h"
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& /*model*/, const TransformStep& step) {
  return learned_setting(step).status();
}

// Of R1's seed; blocks and heads follow.
constexpr uint64_t kFirstStream = 1000;

void edit(const Model& model, const TransformStep& step, const TransformOptions& options,
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
    if (*learned_setting(step)) {
      edits.learn_later([rotations, block](const Samples& samples, ThreadPool& pool) {
        const std::vector<MatrixF>& heads = samples.values[static_cast<std::size_t>(block)];
        for (std::size_t h = 0; h < heads.size(); ++h) {
          Rotation& r = (*rotations)[h];
          r = Rotation::dense(learn_rotation(r.matrix(), heads[h].view(), {}, pool));
        }
      });
    }
    const auto writer = [&](bool is_fused) -> WeightEdits::Edit {
      return [rotations, rows = value_head_rows(c, is_fused), dim](View2<float> values) {
        int64_t at = rows.first;
        for (const Rotation& r : *rotations) {
          if (values.rows == 1) {  // a bias
            r.to_rows(values.block(0, at, 1, dim));
          } else {
            r.to_columns(values.row_range(at, dim));
          }
          at += rows.apart;
        }
        return Status();
      };
    };
    for (const char* suffix : {"", "_bias"}) {
      edits.add(std::string("attn_v") + suffix, block, writer(false));
      edits.add(std::string("attn_qkv") + suffix, block, writer(true));
    }
    RotationBlocks of_tap;
    for (const Rotation& r : *rotations) {
      // Those of the heads that share it. It is the vector's, which learning fills anew.
      of_tap.insert(of_tap.end(), static_cast<std::size_t>(group), {rotations, &r});
    }
    edits.rotate_readers("attn_out", block, std::move(of_tap));
  }
}

}  // namespace

extern const TransformKind kTransformKind_r2;
const TransformKind kTransformKind_r2 = {
    .name = "r2",
    .summary = "each value head is rotated; :learned",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
