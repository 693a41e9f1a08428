// One ggml graph at a time over the caller's own memory, on one thread: products go to BLAS, the
// rest to ggml's CPU backend. Nothing is copied in or out.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"

namespace coldpress {

class Graph {
 public:
  Graph();
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Starts an empty graph with room for `nodes` operations (views count); the tensors of the last
  // one are gone. The context is for calls of ggml_*.
  ggml_context* begin(int64_t nodes);
  // A leaf (ne1 rows of ne0 values, contiguous fp32) over memory that outlives compute().
  ggml_tensor* leaf(const float* data, int64_t ne0, int64_t ne1 = 1);
  ggml_tensor* leaf(const int32_t* data, int64_t ne0);
  // Lets `node` write its result to `data`, which has room for it.
  void place(ggml_tensor* node, float* data);
  // Appends `node` and what it needs, in the order of the calls.
  void add(ggml_tensor* node);
  Status compute();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
