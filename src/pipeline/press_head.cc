#include "pipeline/press_head.h"

#include <optional>
#include <utility>
#include <vector>

namespace coldpress {
namespace {

// The planned tensor of a tap outside the blocks; null if none is quantised.
const PlannedTensor* find_tap(const Run& run, std::string_view tap) {
  for (const PlannedTensor& t : run.plan.tensors) {
    if (t.action == TensorAction::kQuantise && t.tap == tap) return &t;
  }
  return nullptr;
}

Job job_of(Run& run, const LinearRef& linear, View2<float> w) {
  std::optional<Job> job = make_job(run, linear, nullptr, w);
  COLDPRESS_CHECK(job.has_value());
  return std::move(*job);
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
  std::optional<TapHessian> h;
  const LinearRef linear{planned->role, planned->name, w.rows(), w.cols()};
  Job job = job_of(run, linear, w.view());  // so cheap that every rank does it
  if (is_solved(run, linear)) {
    job.owner = 0;
  } else {
    // A row is looked up, not multiplied: no entry of it leans on another.
    MatrixF identity(w.cols(), w.cols());
    for (int64_t j = 0; j < w.cols(); ++j) identity(j, j) = 1.0F;
    COLDPRESS_ASSIGN_OR_RETURN(h, TapHessian::create(kEmbeddingTap, identity.view()));
    job.hessian = &*h;
  }
  COLDPRESS_RETURN_IF_ERROR(press(run, **find_solver("rtn"), {-1, planned->tap}, {job}));
  head->replace("token_embd", std::move(w));
  return {};
}

Status press_head(Run& run, const Model& model, GramSource& grams) {
  const PlannedTensor* planned = find_tap(run, kHeadTap);
  if (planned == nullptr) return {};
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF w, model.load(planned->name));
  const LinearRef linear{planned->role, planned->name, w.rows(), w.cols()};
  std::vector<Job> jobs = {job_of(run, linear, w.view())};
  TapSums sums;
  if (!is_solved(run, linear)) {
    grams.measure(true);
    COLDPRESS_ASSIGN_OR_RETURN(sums, head_gram(model, grams));
  }
  TapProblem problem;
  const TapPlace place{-1, planned->tap};
  COLDPRESS_RETURN_IF_ERROR(pose_tap(run, place, std::move(sums), 1, grams, &jobs, &problem));
  return press(run, run.method, place, jobs);
}

}  // namespace coldpress
