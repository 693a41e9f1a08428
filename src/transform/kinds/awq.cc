// AWQ (2306.00978): channels that matter are enlarged before their weights are rounded,
//   s_j = mean |x_j|^alpha,
// with the alpha that each tap's readers round best with. Ranges are clipped group by group when
// the grid is fitted (grid/fit.h), here as in every other run.
#include "transform/table.h"

namespace coldpress {
namespace {

constexpr int kSteps = 20;

Status check(const Model& model, const TransformStep& step) {
  if (!step.setting.empty()) return invalid_argument("it has no setting");
  return check_scalable(model);
}

void edit(const Model& model, const TransformStep& /*step*/, const TransformOptions& /*options*/,
          WeightEdits& edits) {
  mark_scaled(model, edits);
}

std::vector<float> scales(const ScaleProblem& problem, const TransformStep& /*step*/,
                          ThreadPool& pool) {
  const std::vector<float> ones(static_cast<std::size_t>(problem.n()), 1.0F);
  std::vector<std::vector<float>> candidates;
  for (int i = 0; i <= kSteps; ++i) {
    candidates.push_back(balanced_scales(problem.mean_abs, ones, static_cast<double>(i) / kSteps));
  }
  return best_scales(problem, candidates, pool);
}

}  // namespace

extern const TransformKind kTransformKind_awq;
const TransformKind kTransformKind_awq = {
    .name = "awq",
    .summary = "channels that matter are enlarged before rounding (AWQ), searched tap by tap",
    .check = check,
    .edit = edit,
    .scales = scales,
};

}  // namespace coldpress
