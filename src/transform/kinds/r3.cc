// R3 (2404.00456): queries and keys are rotated after RoPE, online. Their products stay; what
// stands out in a key is spread before it is rounded.
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& model, const TransformStep& step) {
  if (!step.setting.empty()) return invalid_argument("it has no setting");
  return model.config().online.r3 ? unsupported("the model has such a rotation already") : Status();
}

void edit(const Model& /*model*/, const TransformStep& /*step*/, const TransformOptions& options,
          WeightEdits& edits) {
  edits.online().r3 = options.seed;
}

}  // namespace

extern const TransformKind kTransformKind_r3;
const TransformKind kTransformKind_r3 = {
    .name = "r3",
    .summary = "queries and keys are rotated after RoPE (online)",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
