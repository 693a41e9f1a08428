// R4 (2404.00456): what the down projection reads is rotated online, and the projection back.
#include <memory>

#include "linalg/rotation.h"
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& model, const TransformStep& step) {
  if (!step.setting.empty()) return invalid_argument("it has no setting");
  return model.config().online.r4 ? unsupported("the model has such a rotation already") : Status();
}

void edit(const Model& model, const TransformStep& /*step*/, const TransformOptions& options,
          WeightEdits& edits) {
  edits.online().r4 = options.seed;
  const ModelConfig& c = model.config();
  for (int block = 0; block < c.blocks; ++block) {
    const bool narrow = c.experts > 0 && !c.has_experts(block);
    const auto r = std::make_shared<const Rotation>(
        Rotation::hadamard(narrow ? c.dense_ffn : c.ffn, options.seed));
    edits.rotate_readers("ffn_mid", block, {r});
  }
}

}  // namespace

extern const TransformKind kTransformKind_r4;
const TransformKind kTransformKind_r4 = {
    .name = "r4",
    .summary = "what the down projection reads is rotated (online)",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
