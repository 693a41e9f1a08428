#include "model/graph.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-blas.h>
#include <ggml-cpu.h>

#include <vector>

#include "base/check.h"

namespace coldpress {
namespace {

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <typename T, auto kFree>
using Owned = std::unique_ptr<T, Deleter<kFree>>;

bool is_view(const ggml_tensor* node) {
  return node->op == GGML_OP_NONE || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW ||
         node->op == GGML_OP_PERMUTE || node->op == GGML_OP_TRANSPOSE;
}

}  // namespace

struct Graph::State {
  Owned<ggml_backend, ggml_backend_free> cpu;
  Owned<ggml_backend, ggml_backend_free> blas;
  Owned<ggml_threadpool, ggml_threadpool_free> threads;  // of one: the caller
  Owned<ggml_gallocr, ggml_gallocr_free> allocator;
  // Marks the caller's memory as the host's; its own bytes are never used.
  alignas(64) std::byte anchor[64];
  Owned<ggml_backend_buffer, ggml_backend_buffer_free> outside;

  std::vector<std::byte> metadata;
  Owned<ggml_context, ggml_free> context;
  ggml_cgraph* graph = nullptr;
  ggml_cgraph* part = nullptr;  // the run of nodes that one backend computes

  Status run(bool on_blas) {
    if (ggml_graph_n_nodes(part) == 0) return {};
    const ggml_status status = ggml_backend_graph_compute(on_blas ? blas.get() : cpu.get(), part);
    ggml_graph_clear(part);
    if (status != GGML_STATUS_SUCCESS) {
      return io_error("the forward pass ran out of memory; use fewer threads or shorter windows");
    }
    return {};
  }
};

Graph::Graph() : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.cpu.reset(ggml_backend_cpu_init());
  s.blas.reset(ggml_backend_blas_init());
  COLDPRESS_CHECK(s.cpu != nullptr && s.blas != nullptr);
  ggml_backend_cpu_set_n_threads(s.cpu.get(), 1);
  ggml_backend_blas_set_n_threads(s.blas.get(), 1);
  // Without one, ggml makes and frees a pool for every run of nodes.
  ggml_threadpool_params params = ggml_threadpool_params_default(1);
  s.threads.reset(ggml_threadpool_new(&params));
  ggml_backend_cpu_set_threadpool(s.cpu.get(), s.threads.get());
  s.allocator.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  s.outside.reset(ggml_backend_cpu_buffer_from_ptr(s.anchor, sizeof(s.anchor)));
}

Graph::~Graph() = default;

ggml_context* Graph::begin(int64_t nodes) {
  State& s = *state_;
  s.context.reset();
  const auto size = static_cast<std::size_t>(nodes);
  // Leaves are tensors too, and a graph's hash set wants slack.
  const std::size_t needed =
      2 * size * ggml_tensor_overhead() + 2 * ggml_graph_overhead_custom(2 * size, false);
  if (s.metadata.size() < needed) s.metadata.resize(needed);
  s.context.reset(ggml_init(
      {.mem_size = s.metadata.size(), .mem_buffer = s.metadata.data(), .no_alloc = true}));
  COLDPRESS_CHECK(s.context != nullptr);
  s.graph = ggml_new_graph_custom(s.context.get(), 2 * size, false);
  s.part = ggml_new_graph_custom(s.context.get(), 2 * size, false);
  return s.context.get();
}

ggml_tensor* Graph::leaf(const float* data, int64_t ne0, int64_t ne1) {
  ggml_tensor* tensor = ggml_new_tensor_2d(state_->context.get(), GGML_TYPE_F32, ne0, ne1);
  place(tensor, const_cast<float*>(data));  // ggml has no const; leaves are only read
  return tensor;
}

ggml_tensor* Graph::leaf(const int32_t* data, int64_t ne0) {
  ggml_tensor* tensor = ggml_new_tensor_1d(state_->context.get(), GGML_TYPE_I32, ne0);
  tensor->buffer = state_->outside.get();
  tensor->data = const_cast<int32_t*>(data);
  return tensor;
}

void Graph::place(ggml_tensor* node, float* data) {
  COLDPRESS_CHECK(node->view_src == nullptr && node->data == nullptr);
  node->buffer = state_->outside.get();
  node->data = data;
}

void Graph::add(ggml_tensor* node) { ggml_build_forward_expand(state_->graph, node); }

Status Graph::compute() {
  State& s = *state_;
  if (!ggml_gallocr_alloc_graph(s.allocator.get(), s.graph)) {
    return io_error("no memory for the forward pass; use fewer threads or shorter windows");
  }
  bool on_blas = false;
  for (int i = 0; i < ggml_graph_n_nodes(s.graph); ++i) {
    ggml_tensor* node = ggml_graph_node(s.graph, i);
    if (is_view(node)) continue;
    const bool to_blas = ggml_backend_supports_op(s.blas.get(), node);
    if (to_blas != on_blas) COLDPRESS_RETURN_IF_ERROR(s.run(on_blas));
    on_blas = to_blas;
    ggml_graph_add_node(s.part, node);
  }
  return s.run(on_blas);
}

}  // namespace coldpress
