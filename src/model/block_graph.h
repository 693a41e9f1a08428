// What the graphs of a block's stages share: the ggml graph being built, the block's weights as
// leaves, linears and norms. Attention and feed-forward build on it (attention_graph.h,
// feed_forward_graph.h).
//
// Notation: shapes are ggml's, fastest first. T tokens, D head_dim, H heads, K key heads, G = H / K
// queries per key head.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/model.h"
#include "model/online_hooks.h"

namespace coldpress {

struct BlockGraph {
  explicit BlockGraph(const ModelConfig& c) : config(c), online(c) {}

  ModelConfig config;
  OnlineHooks online;
  Graph graph;
  ggml_context* ctx = nullptr;
  const BlockWeights* weights = nullptr;
  int block = 0;
  std::vector<int32_t> positions;  // 0, 1, 2, ..., at least T

  int64_t window() const {
    return config.sliding_window.empty() ? 0
                                         : config.sliding_window[static_cast<std::size_t>(block)];
  }
  const RopeConfig& rope() const {
    return config.rope.size() == 1 ? config.rope.front()
                                   : config.rope[static_cast<std::size_t>(block)];
  }

  ggml_tensor* leaf(View2<const float> v) { return graph.leaf(v.data, v.cols, v.rows); }
  // nullptr if the block has no such tensor.
  ggml_tensor* weight(const std::string& role);
  bool has(const std::string& role) const { return weights->find(role) != nullptr; }
  // x (in, T) -> (out, T), with the bias "ROLE_bias" where the block has it.
  ggml_tensor* linear(ggml_tensor* x, const std::string& role);
  // RMS norm or LayerNorm of x's rows, as the family has it; `bias` may be nullptr.
  ggml_tensor* norm(ggml_tensor* x, ggml_tensor* gain, ggml_tensor* bias);
  // The same with the block's weights; x itself if the block has no such norm.
  ggml_tensor* norm(ggml_tensor* x, const std::string& role);
  // Adds y to the residual in place: scaled, and through the post norm where the block has one.
  ggml_tensor* add_to(ggml_tensor* residual, ggml_tensor* y, const std::string& post_norm);
  // Lets `node` end in `out`.
  void finish(ggml_tensor* node, View2<float> out);
};

}  // namespace coldpress
