// The scale search for groups whose columns are chosen together (grid/codebook.h): 16 scales are
// tried side by side, each with its own nearest codewords.
#pragma once

#include <cstdint>
#include <vector>

#include "grid/codebook.h"
#include "grid/scale_rule.h"

namespace coldpress {

class VectorFitter {
 public:
  // For groups of `group` columns; keeps a reference to the book.
  VectorFitter(const Codebook& book, int64_t group);

  struct Fit {
    float scale = 0;   // 0: a group of zeros
    float weight = 0;  // what an error of the scale costs
  };
  // The scale of least sum_j h_j (Q(w_j) - w_j)^2. With `whole_range`, only such that the largest
  // weight is near the largest level.
  Fit fit(const float* w, const float* h, bool whole_range);

  // Of the multiples of `unit` that the rule (with units) allows, the one of least error.
  float best_multiple(const ScaleRule& rule, float unit, const float* w, const float* h);

 private:
  // Of 16 scales: the error, and the best scale for the same levels with its error.
  struct Trial {
    Lanes error;
    Lanes refined;
    Lanes refined_error;
    Lanes energy;  // of the levels
  };
  bool take(const float* w, const float* h);
  Trial attempt(Lanes scale) const;

  const Codebook& book_;
  std::vector<float> root_;    // sqrt of the columns' weights, relative to the largest
  std::vector<float> target_;  // weights relative to the largest, times root_
  float widest_ = 0;           // |w| of the largest
};

}  // namespace coldpress
