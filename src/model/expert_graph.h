// A mixture of experts in the place of the feed-forward: the router, and each expert over the rows
// that are routed to it, one after the other. Routes follow from the residual alone, so stage 4
// finds the same ones as stage 3.
#pragma once

#include <vector>

#include "model/block_graph.h"

namespace coldpress {

class ExpertGraph {
 public:
  explicit ExpertGraph(BlockGraph& block) : b_(block) {}

  // x (tokens, hidden): softmax over all experts, of which the best are used.
  Status route(View2<const float> x, Routes& routes);
  // x (tokens, hidden) -> mid (tokens, used * ffn): slot s holds the token's s-th expert's.
  Status mid(View2<const float> x, View2<float> mid);
  // Adds the experts' outputs, weighted, to the residual that the feed-forward has read.
  Status add_down(View2<const float> mid, View2<float> residual);

 private:
  // Rows t * used + s of the pairs that are routed to `expert`, ascending.
  static std::vector<int64_t> rows_of(const Routes& routes, int32_t expert);
  ggml_tensor* weight_of(const char* role, int64_t expert, int64_t row0, int64_t rows);
  Status expert_mid(int64_t expert, const MatrixF& in, MatrixF& out);

  BlockGraph& b_;
};

}  // namespace coldpress
