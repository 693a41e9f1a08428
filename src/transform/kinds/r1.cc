// R1 (2404.00456, 2405.16406): the residual stream is rotated. What writes to it is multiplied by
// R, what reads it by R^T; RMS norms, once their gains are folded away, keep the rotation.
#include <memory>
#include <string>

#include "linalg/rotation.h"
#include "model/sites.h"
#include "transform/learn_rotation.h"
#include "transform/norm_folding.h"
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& model, const TransformStep& step) {
  COLDPRESS_RETURN_IF_ERROR(learned_setting(step).status());
  for (const RotationSite& site : rotation_sites(model.architecture())) {
    if (site.name == "residual" && !site.is_possible) {
      return unsupported("the residual stream of " + std::string(model.architecture().name) +
                         " cannot be rotated: " + site.why_not);
    }
  }
  return {};
}

void edit(const Model& model, const TransformStep& step, const TransformOptions& options,
          WeightEdits& edits) {
  fold_norms(model, true, edits);
  const int64_t hidden = model.config().hidden;
  const auto r = std::make_shared<Rotation>(Rotation::hadamard(hidden, options.seed));
  if (*learned_setting(step)) {
    edits.learn_later([r](const Samples& samples, ThreadPool& pool) {
      *r = Rotation::dense(learn_rotation(r->matrix(), samples.residual.view(), {}, pool));
    });
  }
  const auto rows = [r](View2<float> values) {
    r->to_rows(values);
    return Status();
  };
  // Experts' matrices stand one below the other.
  const auto columns = [r, hidden](View2<float> values) {
    for (int64_t at = 0; at < values.rows; at += hidden) {
      r->to_columns(values.row_range(at, hidden));
    }
    return Status();
  };
  edits.add("token_embd", 0, rows);
  edits.rotate_readers(kHeadTap, 0, {r});
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const char* tap : {"attn_in", "ffn_in"}) edits.rotate_readers(tap, block, {r});
    for (const char* tap : {"attn_out", "ffn_mid"}) edits.add_to_writers(tap, block, columns, rows);
  }
}

}  // namespace

extern const TransformKind kTransformKind_r1;
const TransformKind kTransformKind_r1 = {
    .name = "r1",
    .summary = "the residual stream is rotated; norm gains are folded first; :learned",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
