// SmoothQuant (2211.10438): what stands out in a tap's channels moves into the weights that read
// it,
//   s_j = max |x_j|^alpha / max |w_j|^(1 - alpha),
// with one alpha for all taps, or the one that each tap rounds best with.
#include "transform/table.h"

namespace coldpress {
namespace {

constexpr char kSearch[] = "search";
constexpr double kDefaultAlpha = 0.5;

Status check(const Model& model, const TransformStep& step) {
  COLDPRESS_RETURN_IF_ERROR(check_scalable(model));
  if (step.setting.empty() || step.setting == kSearch) return {};
  const auto alpha = number_setting(step, 0, 1);
  return alpha.ok() ? Status() : invalid_argument("the setting is alpha, from 0 to 1, or search");
}

void edit(const Model& model, const TransformStep& /*step*/, const TransformOptions& /*options*/,
          WeightEdits& edits) {
  mark_scaled(model, edits);
}

std::vector<float> scales(const ScaleProblem& problem, const TransformStep& step,
                          ThreadPool& pool) {
  const std::vector<float> weights = problem.max_weights();
  if (step.setting != kSearch) {
    const double alpha = step.setting.empty() ? kDefaultAlpha : *number_setting(step, 0, 1);
    return balanced_scales(problem.max_abs, weights, alpha);
  }
  // As it is, and in steps of a twentieth.
  std::vector<std::vector<float>> candidates = {
      std::vector<float>(static_cast<std::size_t>(problem.n()), 1.0F)};
  for (int i = 2; i <= 18; ++i) {
    candidates.push_back(balanced_scales(problem.max_abs, weights, 0.05 * i));
  }
  return best_scales(problem, candidates, pool);
}

}  // namespace

extern const TransformKind kTransformKind_smooth;
const TransformKind kTransformKind_smooth = {
    .name = "smooth",
    .summary = "channels' largest inputs move into weights (SmoothQuant); :ALPHA or :search",
    .check = check,
    .edit = edit,
    .scales = scales,
};

}  // namespace coldpress
