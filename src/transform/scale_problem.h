// Which scales of a tap make it and its readers round best.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/view.h"
#include "model/online.h"
#include "parallel/thread_pool.h"
#include "solver/solver.h"
#include "transform/weight_edits.h"

namespace coldpress {

// A matrix (out, in) that reads the tap. `fit`: how its ranges are found; none: it is not
// quantised.
struct ScaleReader {
  View2<const float> w;
  std::optional<GridFit> fit;
};

// Views live as long as the call.
struct ScaleProblem {
  View2<const float> h;  // Gram of the tap before it is rounded, divided by its tokens
  std::span<const float> max_abs;
  std::span<const float> mean_abs;
  View2<const float> sample;  // (tokens, in)
  LowBits activations;        // what the tap is rounded to
  std::vector<ScaleReader> readers;

  int64_t n() const { return h.cols; }
  std::vector<float> max_weights() const;  // of each column, over all readers
};

// The squared error of all readers' outputs when weights times `scales` are rounded to their grids,
// and inputs divided by them to the activation bits: over the Gram where inputs stay as they are,
// else over the sample. For comparisons of one problem only.
double scaled_error(const ScaleProblem& problem, std::span<const float> scales);

// Of the candidates the one with the least error; the first of equals.
std::vector<float> best_scales(const ScaleProblem& problem,
                               const std::vector<std::vector<float>>& candidates, ThreadPool& pool);

// size_j^alpha / weight_j^(1 - alpha); 1 where either is 0.
std::vector<float> balanced_scales(std::span<const float> sizes, std::span<const float> weights,
                                   double alpha);

// Marks the tensors that scales will change: norms, their biases, and readers that are not solved.
void mark_scaled(const Model& model, WeightEdits& edits);
// Refuses a model without such norms.
Status check_scalable(const Model& model);

}  // namespace coldpress
