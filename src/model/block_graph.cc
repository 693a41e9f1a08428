#include "model/block_graph.h"

#include "base/check.h"

namespace coldpress {

ggml_tensor* BlockGraph::weight(const std::string& role) {
  const MatrixF* value = weights->find(role);
  return value == nullptr ? nullptr : leaf(value->view());
}

ggml_tensor* BlockGraph::linear(ggml_tensor* x, const std::string& role) {
  ggml_tensor* w = weight(role);
  COLDPRESS_CHECK(w != nullptr);
  ggml_tensor* y = ggml_mul_mat(ctx, w, x);
  ggml_tensor* bias = weight(role + "_bias");
  return bias == nullptr ? y : ggml_add_inplace(ctx, y, bias);
}

ggml_tensor* BlockGraph::norm(ggml_tensor* x, ggml_tensor* gain, ggml_tensor* bias) {
  const auto eps = static_cast<float>(config.norm_eps);
  x = config.norm == NormKind::kRms ? ggml_rms_norm(ctx, x, eps) : ggml_norm(ctx, x, eps);
  x = ggml_mul(ctx, x, gain);
  return bias == nullptr ? x : ggml_add(ctx, x, bias);
}

ggml_tensor* BlockGraph::norm(ggml_tensor* x, const std::string& role) {
  ggml_tensor* gain = weight(role);
  return gain == nullptr ? x : norm(x, gain, weight(role + "_bias"));
}

ggml_tensor* BlockGraph::add_to(ggml_tensor* residual, ggml_tensor* y,
                                const std::string& post_norm) {
  y = norm(y, post_norm);
  if (config.residual_scale != 1.0) {
    y = ggml_scale(ctx, y, static_cast<float>(config.residual_scale));
  }
  return ggml_add_inplace(ctx, residual, y);
}

void BlockGraph::finish(ggml_tensor* node, View2<float> out) {
  // A leaf, or a view of one, has its data elsewhere already.
  if (node->data != nullptr || node->view_src != nullptr) node = ggml_cont(ctx, node);
  graph.place(node, out.data);
  graph.add(node);
}

}  // namespace coldpress
