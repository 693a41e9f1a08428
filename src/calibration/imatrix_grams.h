// Diagonal Grams from an importance matrix, where there is no calibration text: each input's own
// size is known, and nothing of how inputs go together.
#pragma once

#include <string>

#include "calibration/gram_source.h"
#include "hessian/imatrix.h"

namespace coldpress {

class ImatrixGrams final : public GramSource {
 public:
  // Checks that there is an entry of the right size, with rows counted, for every tap. Keeps
  // references to both; they must outlive it. `where` names the file in errors.
  static Result<ImatrixGrams> create(const Model& model, const Imatrix& imatrix,
                                     const std::string& where);

  Status embed(const HeadWeights& /*head*/) override { return {}; }
  Result<TapSums> run_stage(const BlockWeights& weights, const BlockWeights* source, int block,
                            int stage, const std::vector<Tap>& taps) override;
  Result<std::vector<Gram>> expert_grams(const Tap& tap, int64_t first,
                                         std::span<const int> owners) override;
  // Of the entry for the head, where there is one of its size; else all inputs count the same.
  Result<TapSums> head_gram(const HeadWeights& head) override;

 private:
  ImatrixGrams(const Model& model, const Imatrix& imatrix) : model_(model), imatrix_(imatrix) {}
  // The entry of the tap's first linear, which stands for all of them; nullptr: none.
  const ImatrixEntry* entry_of(const Tap& tap, int block) const;

  const Model& model_;
  const Imatrix& imatrix_;
  int block_ = 0;  // of the last run_stage
};

}  // namespace coldpress
