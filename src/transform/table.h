// The table of transforms, generated from transform/kinds/. A transform changes weights so that
// they suffer less from rounding while the model computes the same.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/model.h"
#include "parallel/thread_pool.h"
#include "solver/tap_hessian.h"
#include "transform/scale_problem.h"
#include "transform/steps.h"
#include "transform/weight_edits.h"

namespace coldpress {

struct TransformKind {
  std::string_view name;
  std::string_view summary;
  // Refuses a model that it cannot leave unchanged, and a bad setting, each with the reason.
  Status (*check)(const Model& model, const TransformStep& step);
  // Before the run: what happens to weights as they are loaded, and what then runs along with the
  // model.
  void (*edit)(const Model& model, const TransformStep& step, const TransformOptions& options,
               WeightEdits& edits) = nullptr;
  // At a tap that a norm scales: by how much each of its channels is divided, and the columns of
  // the matrices that read it are multiplied. All finite and positive; empty: nothing changes.
  std::vector<float> (*scales)(const ScaleProblem& problem, const TransformStep& step,
                               ThreadPool& pool) = nullptr;
  // Before a linear is solved: its weights (out, in) become others with nearly the same outputs.
  void (*reshape)(View2<float> w, TapHessian& hessian, const TransformStep& step,
                  ThreadPool& pool) = nullptr;
};

std::span<const TransformKind* const> transform_table();
Result<const TransformKind*> find_transform(std::string_view name);

}  // namespace coldpress
