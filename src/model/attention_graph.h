// Attention of one block over one window: from the linears that read tap 0 to tap 1.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "model/block_graph.h"

namespace coldpress {

class AttentionGraph {
 public:
  explicit AttentionGraph(BlockGraph& block) : b_(block) {}

  // Room that build() needs in the graph for a window of `tokens`.
  int64_t nodes(int64_t tokens) const;
  // x (hidden, T) -> out (H * D, T), a leaf.
  void build(ggml_tensor* x, ggml_tensor* out);

 private:
  struct Heads {
    ggml_tensor* q;  // (D, H, T)
    ggml_tensor* k;  // (D, K, T)
    ggml_tensor* v;  // (D, K, T)
  };
  Heads project(ggml_tensor* x);
  Heads split(ggml_tensor* qkv);
  ggml_tensor* normed(ggml_tensor* x, const char* norm_role);
  ggml_tensor* rotated(ggml_tensor* x);
  ggml_tensor* soft_max(ggml_tensor* scores, int64_t head, int64_t past);
  ggml_tensor* mask(int64_t past, int64_t keys, int64_t queries);
  ggml_tensor* distances(int64_t past, int64_t keys, int64_t queries);

  BlockGraph& b_;
  // Additive masks by (first query - first key, keys, queries, window), and ALiBi's distances.
  using Shape = std::tuple<int64_t, int64_t, int64_t, int64_t>;
  std::map<Shape, std::vector<float>> masks_;
  std::map<Shape, std::vector<float>> distances_;
};

}  // namespace coldpress
