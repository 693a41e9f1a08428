// Norm-gain folding by itself: the gains of the norms move into the linears that read them.
#include <string>

#include "model/sites.h"
#include "transform/norm_folding.h"
#include "transform/table.h"

namespace coldpress {
namespace {

Status check(const Model& model, const TransformStep& step) {
  if (!step.setting.empty()) return invalid_argument("it has no setting");
  if (!scale_sites(model.architecture()).empty()) return {};
  return unsupported(std::string(model.architecture().name) +
                     " has no norms that only linears read");
}

void edit(const Model& model, const TransformStep& /*step*/, const TransformOptions& /*options*/,
          WeightEdits& edits) {
  fold_norms(model, false, edits);
}

}  // namespace

extern const TransformKind kTransformKind_norms;
const TransformKind kTransformKind_norms = {
    .name = "norms",
    .summary = "norm gains move into the linears that read them",
    .check = check,
    .edit = edit,
};

}  // namespace coldpress
