#include "pipeline/press_head.h"

#include <utility>

namespace coldpress {
namespace {

// The planned tensor of a tap outside the blocks; null if none is quantised.
const PlannedTensor* find_tap(const Run& run, std::string_view tap) {
  for (const PlannedTensor& t : run.plan.tensors) {
    if (t.action == TensorAction::kQuantise && t.tap == tap) return &t;
  }
  return nullptr;
}

Status press_matrix(Run& run, const SolverMethod& method, const PlannedTensor& planned,
                    TapHessian* hessian, int64_t tokens, const TargetShift* shift, MatrixF* w) {
  const LinearRef linear{planned.role, planned.name, w->rows(), w->cols()};
  std::optional<Job> job = make_job(run, linear, hessian, w->view());
  COLDPRESS_CHECK(job.has_value());
  job->tokens = tokens;
  job->shift = shift;
  return press(run, method, {-1, planned.tap}, {std::move(*job)});
}

Result<TapSums> head_gram(const Model& model, GramSource& grams) {
  COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head,
                             HeadWeights::load(model, HeadWeights::Part::kFinalNorm));
  return grams.head_gram(head);
}

}  // namespace

Status press_embedding(Run& run, const Model& model, HeadWeights* head) {
  const PlannedTensor* planned = find_tap(run, kEmbeddingTap);
  if (planned == nullptr) return {};
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF w, model.load(planned->name));
  // A row is looked up, not multiplied: no entry of it leans on another.
  MatrixF identity(w.cols(), w.cols());
  for (int64_t j = 0; j < w.cols(); ++j) identity(j, j) = 1.0F;
  COLDPRESS_ASSIGN_OR_RETURN(TapHessian h, TapHessian::create(kEmbeddingTap, identity.view()));
  COLDPRESS_RETURN_IF_ERROR(press_matrix(run, **find_solver("rtn"), *planned, &h, 0, nullptr, &w));
  head->replace("token_embd", std::move(w));
  return {};
}

Status press_head(Run& run, const Model& model, GramSource& grams) {
  const PlannedTensor* planned = find_tap(run, kHeadTap);
  if (planned == nullptr) return {};
  COLDPRESS_ASSIGN_OR_RETURN(TapSums sums, head_gram(model, grams));
  COLDPRESS_ASSIGN_OR_RETURN(TapProblem tap, tap_problem(run, kHeadTap, std::move(sums), 1));
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF w, model.load(planned->name));
  return press_matrix(run, run.method, *planned, &tap.hessian, tap.tokens, &tap.shift, &w);
}

}  // namespace coldpress
